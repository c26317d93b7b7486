"""The embedding of the empty prompt, which is all that the text encoder ever says: computed once, then kept."""

from pathlib import Path
from typing import TYPE_CHECKING

from ops.metrics.base import Unavailable
from ops.weights.base_models import Part
from ops.weights.base_places import Place
from ops.weights.files import WeightsError
from ops.weights.opened import opened, sha256_of

if TYPE_CHECKING:
    from torch import Tensor

TENSOR = "prompt"
# CLIP's marks for start and end; Stable Diffusion 2 fills up with token 0 ("!"), not with the mark for the end.
START, END, FILL = 49406, 49407, 0
TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def read_prompt(url: str, shape: tuple[int, ...]) -> Part:
    """Return the embedding in a safetensors file whose only tensor is `prompt`, of this shape: (tokens, width).

    Raises WeightsError where it is another file.
    """
    file = opened(url)
    if set(file.content) != {TENSOR}:
        raise WeightsError(
            f"{url} holds {', '.join(sorted(file.content)[:3])}, not one tensor `{TENSOR}`; name its file"
        )
    return Part(named=url, origin=file.origin, tensors={TENSOR: _shaped(url, file.content[TENSOR], shape)})


def embed_prompt(place: Place, shape: tuple[int, ...]) -> Part:
    """Return the embedding (tokens, width) of the empty prompt by a base model's text encoder, in float32.

    The encoder sees all tokens, those that only fill up as well, as TADM's authors have it. Raises WeightsError, and
    Unavailable where transformers is missing.
    """
    import torch  # noqa: PLC0415  the base install has none

    try:
        from transformers import CLIPTextModel  # noqa: PLC0415  it takes seconds to import
        from transformers.utils import logging  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Unavailable(f"the prompt needs {error.name}: pip install 'regrow[codecs]'") from error
    if place.is_file:
        raise WeightsError(f"{place.named} holds no text encoder; name the prompt's embedding with --prompt FILE")
    paths, config = place.tensor_files("text_encoder"), place.near("text_encoder/config.json")
    if config is None:
        raise WeightsError(f"{place.named} lacks text_encoder/config.json; name the embedding with --prompt FILE")
    logging.disable_progress_bar()  # of a second
    try:
        encoder = CLIPTextModel.from_pretrained(Path(config).parent, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:120]
        raise WeightsError(f"{place.named}: its text encoder cannot be read ({said}); get it anew") from error
    finally:
        logging.enable_progress_bar()
    with torch.inference_mode():
        embedding = encoder(torch.tensor([_tokens(place, shape[0])])).last_hidden_state[0]
    files = ", ".join(f"{Path(path).name} sha256 {sha256_of(path)}" for path in paths)
    tensors = {TENSOR: _shaped(place.named, embedding.clone(), shape)}
    return Part(
        named=place.named, origin=f"the empty prompt by the text encoder of {place.named}: {files}", tensors=tensors
    )


def _tokens(place: Place, count: int) -> list[int]:
    """Return the tokens of the empty prompt: the tokenizer's own where it is there, else Stable Diffusion 2's."""
    near = {name: place.near(f"tokenizer/{name}") for name in TOKENIZER}
    vocabulary = near["vocab.json"]
    if vocabulary is None or near["merges.txt"] is None:
        return [START, END, *[FILL] * (count - 2)]
    from transformers import CLIPTokenizer  # noqa: PLC0415  it takes seconds to import

    tokenizer = CLIPTokenizer.from_pretrained(Path(vocabulary).parent, local_files_only=True)
    return list(tokenizer("", padding="max_length", max_length=count, truncation=True)["input_ids"])


def _shaped(named: str, embedding: "Tensor", shape: tuple[int, ...]) -> "Tensor":
    if tuple(embedding.shape) != shape:
        raise WeightsError(f"{named}: the prompt's embedding has the shape {tuple(embedding.shape)}, not {shape}")
    return embedding
