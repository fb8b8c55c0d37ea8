{{- define "workspace-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* Whether a part is wanted that has values of its own. Who writes true or false in their place is told
       so here, for the schema could only say that this is no object. */}}
{{- define "workspace-operator.has" -}}
{{- $part := index .values .name -}}
{{- if kindIs "bool" $part -}}
{{- fail (printf "%s has values of its own: write %s.enabled: %t in its place." .name .name $part) -}}
{{- end -}}
{{- if and $part $part.enabled -}}
true
{{- end -}}
{{- end }}

{{- define "workspace-operator.rules" -}}
- apiGroups: [molecule.ai]
  resources: [workspaces]
  verbs: [list, watch]
- apiGroups: [molecule.ai]
  resources: [workspaces/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
