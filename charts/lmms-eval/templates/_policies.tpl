{{- /* Metadata of a policy, its binding, and its match of LMMEvaluations in the release's namespace. */ -}}
{{- define "lmms-eval.policyMetadata" -}}
metadata:
  name: {{ include "lmms-eval.clusterName" (index . 0) }}.{{ index . 1 }}
  labels: {{- include "lmms-eval.labels" (index . 0) | nindent 4 }}
{{- end -}}

{{- define "lmms-eval.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
{{ include "lmms-eval.policyMetadata" . }}
spec:
  policyName: {{ include "lmms-eval.clusterName" (index . 0) }}.{{ index . 1 }}
  validationActions: [Deny]
{{- end -}}

{{- define "lmms-eval.policyMatch" -}}
failurePolicy: Fail
matchConstraints:
  namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ (index . 0).Release.Namespace }} } }
  resourceRules:
    - { apiGroups: [lmms-eval.io], apiVersions: ["*"], operations: {{ index . 2 | toJson }}, resources: [{{ index . 1 }}] }
{{- end -}}

{{- /* PATTERNS as text for messages. */ -}}
{{- define "lmms-eval.choice" -}}
{{ . | join ", " | default "none" }}
{{- end -}}
