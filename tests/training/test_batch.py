import torch

from fcis.training.batch import ObjectMask, Truth, collate_samples
from fcis.training.samples import TrainingSamples

from .conftest import blob, dataset_of, record_of


def test_collation_keeps_each_image_with_its_truth(plain):
    dataset = dataset_of([record_of([blob(60, 80, 5, 6, 20, 18)], number=i) for i in range(4)])
    samples = TrainingSamples(dataset, plain(scale=(0.5, 1.5)))
    chosen = [samples[n] for n in range(3)]
    batch = collate_samples(chosen).to("cpu")
    assert batch.numbers == (0, 1, 2)
    assert batch.names == tuple(s.name for s in chosen)
    assert batch.images.sizes.tolist() == [list(s.plan.size) for s in chosen]
    for i, sample in enumerate(chosen):
        height, width = sample.plan.size
        assert torch.equal(batch.images.pixels[i, :, :height, :width], sample.pixels)
        assert batch.images.pixels[i, :, height:].abs().sum() == 0
        assert torch.equal(batch.truths[i].boxes, sample.truth.boxes)


def test_truth_moves_to_another_device_as_a_whole():
    truth = Truth(
        boxes=torch.zeros(1, 4),
        labels=torch.ones(1, dtype=torch.int64),
        masks=(ObjectMask(top=1, left=2, values=torch.ones(3, 4)),),
        crowds=torch.zeros(2, 4),
    )
    moved = truth.to("meta")
    tensors = (moved.boxes, moved.labels, moved.masks[0].values, moved.crowds)
    assert all(tensor.is_meta for tensor in tensors)
    assert (moved.masks[0].top, moved.masks[0].left) == (1, 2)
