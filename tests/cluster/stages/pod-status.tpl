{{- /* What a kubelet would write next. Times, IDs and messages are those of kubelet
       1.36 with containerd 2; next-look.jq says when this is asked again. */ -}}
{{- $pod := . -}}
{{- $now := Now -}}
{{- $outages := fromJson `$OUTAGES` -}}
{{- $behaviour := dig "metadata" "annotations" "kwok/behaviour" "" . -}}
{{- $new := not .status.startTime -}}
{{- $generation := .metadata.generation -}}
{{- /* A changed Pod is first acknowledged with the old state, and only then acted on. */ -}}
{{- $acknowledge := and (not $new) (ne (toString .status.observedGeneration) (toString $generation)) -}}
{{- $sandbox := or (ne $behaviour "no-volume") (not (empty .status.podIP)) -}}
{{- $inits := default list .spec.initContainers -}}
{{- $olds := dict -}}
{{- range concat (default list .status.initContainerStatuses) (default list .status.containerStatuses) -}}
  {{- $_ := set $olds .name . -}}
{{- end -}}
{{- $initStatuses := list -}}{{- $statuses := list -}}
{{- $undone := list -}}{{- $unready := list -}}{{- $pending := false -}}
{{- range $index, $c := concat $inits .spec.containers -}}
  {{- $init := lt $index (len $inits) -}}
  {{- $sidecar := eq (default "" $c.restartPolicy) "Always" -}}
  {{- $old := get $olds $c.name | default dict -}}
  {{- $state := default dict $old.state -}}
  {{- $last := default dict $old.lastState -}}
  {{- $id := default "" $old.containerID -}}
  {{- $imageID := default "" $old.imageID -}}
  {{- $restarts := default 0 $old.restartCount | int -}}
  {{- $ready := default false $old.ready -}}
  {{- $started := default false $old.started -}}
  {{- $image := default $c.image $old.image -}}
  {{- $same := eq $image $c.image -}}
  {{- $waiting := dig "waiting" "reason" "" $state -}}
  {{- $acts := "" -}}
  {{- if eq $c.name (first $pod.spec.containers).name -}}{{- $acts = $behaviour -}}{{- end -}}
  {{- $outage := dict -}}
  {{- range $outages -}}
    {{- /* They are in order, so the longest prefix comes last. */ -}}
    {{- if and (hasPrefix .prefix $c.image) (or (not .cached) (eq $c.imagePullPolicy "Always")) -}}{{- $outage = . -}}{{- end -}}
  {{- end -}}
  {{- if $acknowledge -}}
  {{- else if and $state.terminated $same -}}
  {{- else if and $state.running $same -}}
    {{- $ready = not (has $acts (list "not-ready" "crash" "fail")) -}}
    {{- if eq $acts "crash" -}}
      {{- $last = dict "terminated" (dict "exitCode" 1 "reason" "Error" "startedAt" $state.running.startedAt "finishedAt" $now "containerID" $id) -}}
      {{- $wait := index (list "10s" "20s" "40s" "1m20s" "2m40s" "5m0s") (min $restarts 5 | int) -}}
      {{- $message := printf "back-off %s restarting failed container=%s pod=%s_%s(%s)" $wait $c.name $pod.metadata.name $pod.metadata.namespace $pod.metadata.uid -}}
      {{- $state = dict "waiting" (dict "reason" "CrashLoopBackOff" "message" $message) -}}
      {{- $ready = false -}}{{- $started = false -}}
    {{- end -}}
  {{- else -}}
    {{- if $state.running -}}
      {{- /* A new image kills what runs, and is pulled afterwards. */ -}}
      {{- $last = dict "terminated" (dict "exitCode" 143 "reason" "Error" "startedAt" $state.running.startedAt "finishedAt" $now "containerID" $id) -}}
      {{- $waiting = "" -}}
    {{- end -}}
    {{- $image = $c.image -}}{{- $ready = false -}}{{- $started = false -}}
    {{- if and (not $init) (not (empty $undone)) -}}
      {{- $state = dict "waiting" (dict "reason" "PodInitializing") -}}
    {{- else if or $new (not $sandbox) -}}
      {{- $state = dict "waiting" (dict "reason" (ternary "ContainerCreating" "PodInitializing" (empty $inits))) -}}
    {{- else if $outage.hangs -}}
      {{- if or (not $same) (eq $waiting "") -}}
        {{- $state = dict "waiting" (dict "reason" "ContainerCreating") -}}
      {{- end -}}
    {{- else if and $outage.answer (ne $waiting "CrashLoopBackOff") -}}
      {{- $host := regexFind "^[^/]+" $image -}}
      {{- $path := trimPrefix (print $host "/") $image -}}
      {{- $repository := regexReplaceAll "(@.*|:[^/:]*)$" $path "" -}}
      {{- $reference := default "latest" (trimAll "@:" (trimPrefix $repository $path)) -}}
      {{- $cause := "" -}}
      {{- if hasPrefix "401" $outage.answer -}}
        {{- $cause = printf "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://%s/token?scope=repository%%3A%s%%3Apull&service=%s: %s" $host (replace "/" "%2F" $repository) $host $outage.answer -}}
      {{- else if hasPrefix "404" $outage.answer -}}
        {{- $cause = print $image ": not found" -}}
      {{- else -}}
        {{- $cause = printf "unexpected status from HEAD request to https://%s/v2/%s/manifests/%s: %s" $host $repository $reference $outage.answer -}}
      {{- end -}}
      {{- $error := printf "failed to pull and unpack image %q: failed to resolve reference %q: %s" $image $image $cause -}}
      {{- if hasPrefix "404" $outage.answer -}}{{- $error = print "rpc error: code = NotFound desc = " $error -}}{{- end -}}
      {{- if and $same (eq $waiting "ErrImagePull") -}}
        {{- $state = dict "waiting" (dict "reason" "ImagePullBackOff" "message" (printf "Back-off pulling image %q: ErrImagePull: %s" $image $error)) -}}
      {{- else -}}
        {{- $state = dict "waiting" (dict "reason" "ErrImagePull" "message" $error) -}}
      {{- end -}}
    {{- else if eq $acts "missing-config" -}}
      {{- $state = dict "waiting" (dict "reason" "CreateContainerConfigError" "message" "configmap \"x\" not found") -}}
    {{- else -}}
      {{- if $id -}}{{- $restarts = add1 $restarts -}}{{- end -}}
      {{- $id = print "containerd://" (print $pod.metadata.uid "/" $c.name "/" $restarts | sha256sum) -}}
      {{- /* The same name and tag has the same bytes at every registry, as a mirror does. */ -}}
      {{- $digest := print "sha256:" (splitList "/" $image | last | sha256sum) -}}
      {{- if contains "@" $image -}}{{- $digest = splitList "@" $image | last -}}{{- end -}}
      {{- $imageID = print (regexReplaceAll "(@.*|:[^/:]*)$" $image "") "@" $digest -}}
      {{- $ready = not (has $acts (list "not-ready" "crash" "fail")) -}}{{- $started = true -}}
      {{- $state = dict "running" (dict "startedAt" $now) -}}
      {{- if and $init (not $sidecar) -}}
        {{- $state = dict "terminated" (dict "exitCode" 0 "reason" "Completed" "startedAt" $now "finishedAt" $now "containerID" $id) -}}
        {{- $ready = true -}}{{- $started = false -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- $status := dict "name" $c.name "image" $image "imageID" $imageID "ready" $ready "started" $started "restartCount" $restarts "state" $state "lastState" $last -}}
  {{- if $id -}}{{- $_ := set $status "containerID" $id -}}{{- end -}}
  {{- if $init -}}
    {{- $initStatuses = append $initStatuses $status -}}
    {{- if not $ready -}}{{- $undone = append $undone $c.name -}}{{- end -}}
  {{- else -}}
    {{- $statuses = append $statuses $status -}}
    {{- if not $ready -}}{{- $unready = append $unready $c.name -}}{{- end -}}
    {{- if and $state.waiting (empty $last) -}}{{- $pending = true -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- $wanted := list
  (dict "type" "PodReadyToStartContainers" "ok" $sandbox "reason" "" "message" "")
  (dict "type" "Initialized" "ok" (empty $undone) "reason" "ContainersNotInitialized" "message" (printf "containers with incomplete status: [%s]" (join " " $undone)))
  (dict "type" "Ready" "ok" (empty $unready) "reason" "ContainersNotReady" "message" (printf "containers with unready status: [%s]" (join " " $unready)))
  (dict "type" "ContainersReady" "ok" (empty $unready) "reason" "ContainersNotReady" "message" (printf "containers with unready status: [%s]" (join " " $unready))) -}}
{{- $conditions := list -}}
{{- range $wanted -}}
  {{- $type := .type -}}
  {{- $status := ternary "True" "False" .ok -}}
  {{- $since := $now -}}
  {{- range default list $pod.status.conditions -}}
    {{- if and (eq .type $type) (eq .status $status) -}}{{- $since = .lastTransitionTime -}}{{- end -}}
  {{- end -}}
  {{- $conditions = append $conditions (dict "type" $type "status" $status "reason" (ternary "" .reason .ok) "message" (ternary "" .message .ok) "lastTransitionTime" $since "observedGeneration" $generation) -}}
{{- end -}}
{{- $status := dict "phase" (ternary "Pending" "Running" $pending) "conditions" $conditions "containerStatuses" $statuses "observedGeneration" $generation "startTime" (default $now .status.startTime) -}}
{{- if $initStatuses -}}{{- $_ := set $status "initContainerStatuses" $initStatuses -}}{{- end -}}
{{- $hostIP := NodeIPWith .spec.nodeName -}}
{{- $_ := set $status "hostIP" $hostIP -}}{{- $_ := set $status "hostIPs" (list (dict "ip" $hostIP)) -}}
{{- if and $sandbox (not .status.podIP) -}}
  {{- $ip := PodIPWith .spec.nodeName (default false .spec.hostNetwork) .metadata.uid .metadata.name .metadata.namespace -}}
  {{- $_ := set $status "podIP" $ip -}}{{- $_ := set $status "podIPs" (list (dict "ip" $ip)) -}}
{{- end -}}
{{- /* The version keeps an answer to an older Pod from landing on a newer one. */ -}}
{{- toJson (dict "metadata" (dict "uid" .metadata.uid "resourceVersion" .metadata.resourceVersion) "status" $status) -}}
