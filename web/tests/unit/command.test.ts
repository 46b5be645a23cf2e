import { expect, test } from "vitest";
import { toCommand } from "@/lib/command";

test("what is at its default is left out", () => {
  const request = { model: "vllm", tasks: ["mme"], num_gpus: 1, log_samples: true, limit: null, hold: false };
  expect(toCommand(request)).toBe("lmmeval submit --model vllm --tasks mme");
});

test.each([
  [{ model_args: { pretrained: "a/b", max_pixels: 9 } }, "--model_args pretrained=a/b,max_pixels=9"],
  [{ model_args: { prompt: "it's, so" } }, `--model_args '{"prompt":"it'\\''s, so"}'`],
  [{ model_args: { version: "7" } }, `--model_args '{"version":"7"}'`],
  [{ tasks: ["a", "b"] }, "--tasks a,b"],
  [{ num_gpus: 0 }, "--gpus 0"],
  [{ log_samples: false, hold: true }, "--no-log_samples --hold"],
  [{ labels: { run: "7", name: "a b" } }, "--label run=7 --label 'name=a b'"],
  [{ env: [{ name: "A", secret_key_ref: { name: "s", key: "k" } }] }, "--env A=s/k"],
  [{ env: [{ name: "A", value: "1" }] }, "--env-value A=1"],
  [{ volumes: [{ claim_name: "c", mount_path: "/data", read_only: false }] }, "--volume c:/data:rw"],
  [{ tolerations: [{ key: "gpu", effect: "NoSchedule" }] }, "--toleration gpu:NoSchedule"],
  [{ resources: { memory: "16Gi" } }, "--memory 16Gi"],
  [{ system_instruction: "$(touch x)" }, "--system_instruction '$(touch x)'"],
])("%j is %s", (request, flags) => {
  expect(toCommand(request).replaceAll(" \\\n  ", " ")).toBe(`lmmeval submit ${flags}`);
});
