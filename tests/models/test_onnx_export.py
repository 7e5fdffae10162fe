import math

import pytest
import torch
from onnx import TensorProto, helper
from small_models import net, rewrite_manifest, save
from torch import nn

from physics_twins.models import ModelError, export_onnx
from physics_twins.models.folder import onnx_session, open_model

pytestmark = [
    pytest.mark.slow,  # torch's exporter takes seconds to start
    # Of torch's own exporter, called outside of our filter by the tests' own exports.
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def series():
    return torch.randn(4, 1, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exported(series):
    return export_onnx(net(), series)


class Wrong(nn.Module):
    """Gives another result when it is exported."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, series):
        return series * (self.factor if torch.compiler.is_exporting() else 1.0)


class TwoInputs(nn.Module):
    """Looks up integers and returns two tensors."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, series, index):
        return series + self.table(index), index.float().mean(dim=-1)


class FixedBatch(nn.Module):
    def forward(self, series):
        return series.reshape(4, 16)


def test_the_file_gives_what_torch_gives_for_any_batch(exported, series):
    data, record = exported
    session = onnx_session(data)
    assert session.get_inputs()[0].shape == ["batch", 1, 16]
    module = net().eval()
    for n in (1, 5, 17):
        given = torch.randn(n, 1, 16, generator=torch.Generator().manual_seed(n))
        (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        # Single precision rounds at 6e-8, a hundred times over 64 terms.
        torch.testing.assert_close(torch.tensor(found), module(given), rtol=1e-5, atol=1e-5)
    assert 0 < record["largest_deviation"] < record["tolerance"]
    assert record["batch_sizes"] == [1, 2, 3, 8]


def test_the_same_module_gives_the_same_file(exported, series):
    assert export_onnx(net(), series)[0] == exported[0]


def test_the_file_names_no_source_file_of_this_machine(exported):
    assert b".py" not in exported[0]


def test_the_module_is_not_changed(series):
    module = net().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_onnx(module, series)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_several_inputs_and_outputs_and_an_example_of_one_are_exported():
    module = TwoInputs()
    data, record = export_onnx(module, (torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, 4]])))
    assert [node.shape for node in onnx_session(data).get_inputs()] == [
        ["batch", 4, 3],
        ["batch", 4],
    ]
    assert record["largest_deviation"] <= 1e-6


def test_a_saved_model_has_its_onnx_file_and_says_how_near_it_is(series):
    model = save(onnx=export_onnx(net(), series))
    (found,) = model.onnx_session().run(None, {"series": series.numpy()})
    torch.testing.assert_close(torch.tensor(found), net().eval()(series), rtol=1e-5, atol=1e-5)
    assert model.manifest.onnx is not None
    assert model.manifest.onnx["largest_deviation"] < 1e-5
    assert f'"largest_deviation": {model.manifest.onnx["largest_deviation"]}' in model.card


@pytest.mark.parametrize("factor", [1.001, math.nan])
def test_a_file_that_deviates_is_refused(factor, series):
    with pytest.raises(ModelError, match=r"deviates from torch by (1\.0e-03|nan)"):
        export_onnx(Wrong(factor), series)


def test_a_module_of_one_batch_size_only_is_not_saved(series):
    with pytest.raises(RuntimeError, match=r"shape '\[4, 16\]' is invalid"):
        export_onnx(FixedBatch(), series)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ((), "first dimension"),
        (torch.tensor(1.0), "first dimension"),
        (torch.ones(0, 3), "empty"),
    ],
)
def test_an_example_without_a_batch_is_refused(example, message):
    with pytest.raises(ModelError, match=message):
        export_onnx(net(), example)


def external_weights(location="../../secret"):
    """An ONNX file that is sound but for taking its weights from another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y], initializer=[weights])
    return helper.make_model(graph, ir_version=10).SerializeToString()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (external_weights(), "outside the directory"),
        (external_weights("secret"), "no sound ONNX file that stands alone"),
        (b"\x08\x00garbage", "no sound ONNX file"),
        (b"\x08\x0a", "no sound ONNX file"),
    ],
)
def test_a_hostile_onnx_file_is_refused(data, message, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(bytes(8))
    monkeypatch.chdir(tmp_path)
    model = save()
    (model.folder / "model.onnx").write_bytes(data)
    rewrite_manifest(model.folder, added=["model.onnx"])
    with pytest.raises(ModelError, match=message):
        open_model(model.folder).onnx_session()
