{{- /* The last status of a Pod that failed or was evicted. */ -}}
{{- $now := Now -}}
{{- $evicted := eq (dig "metadata" "annotations" "kwok/behaviour" "" .) "evict" -}}
{{- $statuses := list -}}
{{- range default list .status.containerStatuses -}}
  {{- $end := dict "exitCode" (ternary 137 1 $evicted) "reason" "Error" "finishedAt" $now -}}
  {{- if .containerID -}}{{- $_ := set $end "containerID" .containerID -}}{{- end -}}
  {{- with dig "running" "startedAt" "" .state -}}{{- $_ := set $end "startedAt" . -}}{{- end -}}
  {{- $statuses = append $statuses (merge (dict "ready" false "started" false "state" (dict "terminated" $end)) (omit . "ready" "started" "state")) -}}
{{- end -}}
{{- $conditions := list -}}
{{- range list "Ready" "ContainersReady" -}}
  {{- $conditions = append $conditions (dict "type" . "status" "False" "reason" "PodFailed" "lastTransitionTime" $now "observedGeneration" $.metadata.generation) -}}
{{- end -}}
{{- $status := dict "phase" "Failed" "conditions" $conditions -}}
{{- if $statuses -}}{{- $_ := set $status "containerStatuses" $statuses -}}{{- end -}}
{{- if $evicted -}}
  {{- $_ := set $status "reason" "Evicted" -}}
  {{- $_ := set $status "message" "The node was low on resource: memory. " -}}
{{- end -}}
{{- toJson (dict "metadata" (dict "uid" .metadata.uid "resourceVersion" .metadata.resourceVersion) "status" $status) -}}
