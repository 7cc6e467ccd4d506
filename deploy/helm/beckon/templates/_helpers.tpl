{{/* The labels of a tier; the name of the tier is `component`, that of the release is `release`. */}}
{{- define "beckon.labels" -}}
app.kubernetes.io/name: {{ .release }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* As whom all pods run. */}}
{{- define "beckon.identity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What the pods of both tiers have, apart from their container. */}}
{{- define "beckon.pod" -}}
{{ include "beckon.identity" . }}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "beckon.labels" $ | nindent 8 }}
{{- end }}
{{- end }}

{{/* What the containers of both tiers have. `port` is the name of the public port. */}}
{{- define "beckon.container" -}}
name: {{ .component }}
image: {{ .root.Values.image }}
args: [{{ .component }}]
envFrom:
  - configMapRef: {name: {{ .release }}-settings}
{{- if eq .component "connection-node" }}
  - secretRef: {name: {{ .root.Values.secret }}}
{{- end }}
# Neither asks the store: a node that is restarted because Redis is away drops its devices and gains nothing.
livenessProbe:
  httpGet: {path: /live, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 1
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
