"""Adapters that ask for their checkpoint's code by themselves, told by their source."""

import pytest

from lmms_eval_runner.catalogue.remote_code_scan import is_remote_code_requested


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("AutoModel.from_pretrained(path, trust_remote_code=True)", True),
        ("AutoModel.from_pretrained(path, trust_remote_code=trust_remote_code)", False),
        ("AutoModel.from_pretrained(path, trust_remote_code=False)", False),
        ("options = {'device': 'cpu', 'trust_remote_code': True}", True),
        ("options = {**more, 'trust_remote_code': trusted}", False),
        ("class A:\n    def __init__(self, path, trust_remote_code=True, **kwargs): ...", True),
        ("class A:\n    def __init__(self, path, *, trust_remote_code: bool = True): ...", True),
        ("class A:\n    def __init__(self, trust_remote_code, fast=True): ...", False),
        ("class A:\n    def load(self, trust_remote_code=True): ...", False),
        ("import vllm\nclass A:\n    def __init__(self, trust_remote_code=True): ...", False),
        ("from sglang.srt import Engine\nclass A:\n    def __init__(self, trust_remote_code=True): ...", False),
        (
            "LLM, _ = optional_import('vllm', 'LLM')\nclass A:\n    def __init__(self, trust_remote_code=True): ...",
            False,
        ),
        ("import vllm\nAutoConfig.from_pretrained(path, trust_remote_code=True)", True),
        ("# trust_remote_code=True", False),
    ],
)
def test_what_a_source_asks_for(source: str, expected: bool) -> None:
    assert is_remote_code_requested(source) is expected
