// Command provisioner makes the volumes of the cluster's default StorageClass: a folder of the node for each claim,
// writable by any user, removed when the claim is.
package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// folders keeps every volume as a folder below root, on the one node there is.
type folders struct{ root, node string }

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster to serve")
	name := flag.String("name", "", "the provisioner that storage classes name")
	root := flag.String("root", "", "where the volumes' folders are made")
	node := flag.String("node", "", "the node that has that folder")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatalf("cannot read the kubeconfig %q: %v", *kubeconfig, err)
	}
	ctx := context.Background()
	volumes := folders{root: *root, node: *node}
	controller.NewProvisionController(ctx, kubernetes.NewForConfigOrDie(config), *name, volumes,
		controller.LeaderElection(false)).Run(ctx)
}

// Provision makes the folder of a claim. Its mode lets pods of every user write, as no driver is there to change its owner.
func (f folders) Provision(_ context.Context, options controller.ProvisionOptions) (
	*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(f.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return f.volume(path, options), controller.ProvisioningFinished, nil
}

// Delete removes the folder of a volume that was released.
func (f folders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	return os.RemoveAll(filepath.Join(f.root, volume.Name))
}

func (f folders) volume(path string, options controller.ProvisionOptions) *core.PersistentVolume {
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      options.PVC.Spec.Resources.Requests,
			NodeAffinity:                  f.affinity(),
			PersistentVolumeSource: core.PersistentVolumeSource{
				Local: &core.LocalVolumeSource{Path: path},
			},
		},
	}
}

func (f folders) affinity() *core.VolumeNodeAffinity {
	here := core.NodeSelectorRequirement{Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{f.node}}
	term := core.NodeSelectorTerm{MatchExpressions: []core.NodeSelectorRequirement{here}}
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{term}}}
}
