{{- /* What pod-status.tpl comes to in the end, for a Pod of one container, in one write. */ -}}
{{- $now := Now -}}
{{- $container := first .spec.containers -}}
{{- $image := $container.image -}}
{{- $outage := dict -}}
{{- range fromJson `$OUTAGES` -}}
  {{- if and (hasPrefix .prefix $image) (or (not .cached) (eq $container.imagePullPolicy "Always")) -}}{{- $outage = . -}}{{- end -}}
{{- end -}}
{{- $runs := empty $outage -}}
{{- $status := dict "name" $container.name "image" $image "imageID" "" "ready" $runs "started" $runs "restartCount" 0 "lastState" dict -}}
{{- if $runs -}}
  {{- $name := regexReplaceAll "(@.*|:[^/:]*)$" $image "" -}}
  {{- $_ := set $status "imageID" (print $name "@sha256:" (splitList "/" $image | last | sha256sum)) -}}
  {{- $_ := set $status "containerID" (print "containerd://" (print .metadata.uid $image | sha256sum)) -}}
  {{- $_ := set $status "state" (dict "running" (dict "startedAt" $now)) -}}
{{- else -}}
  {{- $error := printf "failed to pull and unpack image %q: failed to resolve reference %q: unexpected status from HEAD request: %s" $image $image $outage.answer -}}
  {{- $_ := set $status "state" (dict "waiting" (dict "reason" "ImagePullBackOff" "message" (printf "Back-off pulling image %q: ErrImagePull: %s" $image $error))) -}}
{{- end -}}
{{- $conditions := list -}}
{{- range $type, $ok := dict "PodReadyToStartContainers" true "Initialized" true "Ready" $runs "ContainersReady" $runs -}}
  {{- $conditions = append $conditions (dict "type" $type "status" (ternary "True" "False" $ok) "reason" (ternary "" "ContainersNotReady" $ok) "lastTransitionTime" $now "observedGeneration" $.metadata.generation) -}}
{{- end -}}
{{- $hostIP := NodeIPWith .spec.nodeName -}}
{{- $ip := default (PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace) .status.podIP -}}
{{- $pod := dict "phase" (ternary "Running" "Pending" $runs) "conditions" $conditions "containerStatuses" (list $status) "observedGeneration" .metadata.generation "startTime" (default $now .status.startTime) "hostIP" $hostIP "hostIPs" (list (dict "ip" $hostIP)) "podIP" $ip "podIPs" (list (dict "ip" $ip)) -}}
{{- toJson (dict "metadata" (dict "uid" .metadata.uid "resourceVersion" .metadata.resourceVersion) "status" $pod) -}}
