{{- $now := Now -}}
{{- $conditions := list -}}
{{- range NodeConditions -}}
  {{- $conditions = append $conditions (dict "type" .type "status" .status "reason" .reason "message" .message "lastHeartbeatTime" $now "lastTransitionTime" (default $now $.metadata.creationTimestamp)) -}}
{{- end -}}
{{- toJson (dict "conditions" $conditions) -}}
