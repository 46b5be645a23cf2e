module lmms-eval.io/hack/cluster/tools/pause

go 1.26.0
