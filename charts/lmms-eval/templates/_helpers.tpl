{{- define "lmms-eval.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- /* Names of cluster-wide objects contain the namespace, so that releases of other namespaces have their own. */ -}}
{{- define "lmms-eval.clusterName" -}}
{{ .Release.Namespace }}.{{ include "lmms-eval.fullname" . }}
{{- end -}}

{{- define "lmms-eval.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lmms-eval.labels" -}}
{{ include "lmms-eval.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The image of the component in (list . "operator"). */ -}}
{{- define "lmms-eval.image" -}}
{{- $root := index . 0 -}}
{{- $images := $root.Values.images -}}
{{- $image := index $images (index . 1) -}}
{{- if $images.registry }}{{ trimSuffix "/" $images.registry }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $images.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- /* Security of every pod and container: Pod Security "restricted", and a read-only root file system. */ -}}
{{- define "lmms-eval.podSecurityContext" -}}
runAsNonRoot: true
{{- range $name, $value := include "lmms-eval.podSecurity" . | fromJson }}
{{ $name }}: {{ int64 $value }}
{{- end }}
{{- if hasKey (include "lmms-eval.podSecurity" . | fromJson) "fsGroup" }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- /* The fields of podSecurityContext that are set, as JSON; the cluster decides on the others. */ -}}
{{- define "lmms-eval.podSecurity" -}}
{{- $set := dict -}}
{{- range $name, $value := .Values.podSecurityContext -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $set = set $set $name (int64 $value) -}}
{{- end -}}
{{- end -}}
{{ toJson $set }}
{{- end -}}

{{- /* What evaluations may keep of images, videos and sounds, as JSON. */ -}}
{{- define "lmms-eval.media" -}}
{{- $media := .Values.evaluator.media -}}
{{ dict "max" $media.max "fileBytes" (int64 $media.fileBytes) "runBytes" (int64 $media.runBytes) | toJson }}
{{- end -}}

{{- define "lmms-eval.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- /* Node selector, tolerations and pull secrets of a pod; (dict "root" . "values" .Values.api). */ -}}
{{- define "lmms-eval.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "lmms-eval.tokenSecret" -}}
{{ .Values.api.existingSecret | default (printf "%s-token" (include "lmms-eval.fullname" .)) }}
{{- end -}}

{{- define "lmms-eval.storeSecret" -}}
{{- if or .Values.store.existingSecret (not .Values.store.embedded.enabled) -}}
{{ .Values.store.existingSecret }}
{{- else -}}
{{ include "lmms-eval.fullname" . }}-store
{{- end -}}
{{- end -}}

{{- define "lmms-eval.storeClaim" -}}
{{ .Values.store.embedded.existingClaim | default (printf "%s-s3" (include "lmms-eval.fullname" .)) }}
{{- end -}}

{{- define "lmms-eval.storeUrl" -}}
{{- if .Values.store.embedded.enabled -}}
s3://lmms-eval
{{- else -}}
{{ required "store.url is needed where store.embedded.enabled is false, as s3://bucket/prefix" .Values.store.url }}
{{- end -}}
{{- end -}}

{{- define "lmms-eval.storeEndpoint" -}}
{{- if .Values.store.embedded.enabled -}}
http://{{ include "lmms-eval.fullname" . }}-s3.{{ .Release.Namespace }}.svc:7070
{{- else -}}
{{ .Values.store.endpoint }}
{{- end -}}
{{- end -}}

{{- /* The authority of an external store's certificate: the file that the programs read, its mount and its volume. */ -}}
{{- define "lmms-eval.storeCaFile" -}}
{{ ternary "/var/run/lmms-eval/store-ca/ca.crt" "" (not (empty .Values.store.caSecret)) }}
{{- end -}}

{{- define "lmms-eval.storeCaMount" -}}
{{- if .Values.store.caSecret }}
- { name: store-ca, mountPath: /var/run/lmms-eval/store-ca, readOnly: true }
{{- end }}
{{- end -}}

{{- define "lmms-eval.storeCaVolume" -}}
{{- with .Values.store.caSecret }}
- { name: store-ca, secret: { secretName: {{ . }} } }
{{- end }}
{{- end -}}

{{- define "lmms-eval.cacheClaim" -}}
{{- if .Values.cache.enabled -}}
{{ .Values.cache.existingClaim | default (printf "%s-cache" (include "lmms-eval.fullname" .)) }}
{{- end -}}
{{- end -}}

{{- /* The id of the evaluator image's list of tasks and models in the store; empty if no Job makes the list. */ -}}
{{- define "lmms-eval.catalogue" -}}
{{- if .Values.catalogue.enabled -}}
{{ include "lmms-eval.image" (list . "evaluator") | sha256sum | trunc 16 }}
{{- end -}}
{{- end -}}

{{- define "lmms-eval.sessionSecret" -}}
{{ .Values.api.web.existingSecret | default (printf "%s-session" (include "lmms-eval.fullname" .)) }}
{{- end -}}

{{- define "lmms-eval.proxySecret" -}}
{{ .Values.api.proxy.existingSecret | default (printf "%s-proxy" (include "lmms-eval.fullname" .)) }}
{{- end -}}

{{- /* Names under which the front end is reached, separated by commas. */ -}}
{{- define "lmms-eval.hosts" -}}
{{- $name := printf "%s-api" (include "lmms-eval.fullname" .) -}}
{{- $service := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- concat $service (compact (list .Values.api.ingress.host)) .Values.api.httpRoute.hostnames .Values.api.tls.certManager.dnsNames .Values.api.web.hosts | uniq | join "," -}}
{{- end -}}

{{- /* A generated value in Base64: the one that the Secret has already (list . NAME KEY LENGTH), or a new one. */ -}}
{{- define "lmms-eval.generated" -}}
{{- $root := index . 0 -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace (index . 1) -}}
{{- $known := dig "data" (index . 2) "" ($secret | default dict) -}}
{{- $known | default (randAlphaNum (index . 3) | b64enc) -}}
{{- end -}}

{{- /* Environment of every evaluation, as a JSON list. */ -}}
{{- define "lmms-eval.evaluatorEnv" -}}
{{- $env := list -}}
{{- range $name, $value := dict "HTTP_PROXY" .Values.evaluator.proxy.httpProxy "HTTPS_PROXY" .Values.evaluator.proxy.httpsProxy "NO_PROXY" .Values.evaluator.proxy.noProxy -}}
{{- if $value -}}
{{- $env = concat $env (list (dict "name" $name "value" $value) (dict "name" (lower $name) "value" $value)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.evaluator.huggingFaceEndpoint -}}
{{- $env = append $env (dict "name" "HF_ENDPOINT" "value" .) -}}
{{- end -}}
{{- concat $env .Values.evaluator.env | toJson -}}
{{- end -}}

{{- /* CEL: whether EXPRESSION matches one of PATTERNS, which are names or prefixes that end in *; (list EXPRESSION PATTERNS). */ -}}
{{- define "lmms-eval.allowed" -}}
{{- $expression := index . 0 -}}
{{- $terms := list -}}
{{- range index . 1 -}}
{{- if hasSuffix "*" . -}}
{{- $terms = append $terms (printf "%s.startsWith('%s')" $expression (trimSuffix "*" .)) -}}
{{- else -}}
{{- $terms = append $terms (printf "%s == '%s'" $expression .) -}}
{{- end -}}
{{- end -}}
({{ $terms | join " || " | default "false" }})
{{- end -}}

{{- /* The name of the Secret with the front end's certificate; empty for plain HTTP. */ -}}
{{- define "lmms-eval.tlsSecret" -}}
{{- with .Values.api.tls -}}
{{- if and .existingSecret .certManager.issuerRef -}}
{{- fail "api.tls.existingSecret names a Secret that is there, api.tls.certManager.issuerRef has one made: give one of them" -}}
{{- end -}}
{{- if .certManager.issuerRef -}}
{{ include "lmms-eval.fullname" $ }}-tls
{{- else -}}
{{ .existingSecret }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lmms-eval.apiScheme" -}}
{{ ternary "https" "http" (include "lmms-eval.tlsSecret" . | empty | not) }}
{{- end -}}

{{- define "lmms-eval.apiPort" -}}
{{ .Values.api.service.port | default (ternary 443 80 (include "lmms-eval.tlsSecret" . | empty | not)) }}
{{- end -}}
