// Tensor names of single-file checkpoints (CompVis' and Stability's code, OpenCLIP's text encoders) as diffusers' and
// transformers' folders have them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace gf::pipeline {

/// What a tensor of a checkpoint is, or a part of one.
struct PartName {
  std::string name;  ///< In the part's own file: "down_blocks.0.resnets.1.conv1.weight".
  /// OpenCLIP keeps queries, keys and values in one tensor: this is third `third` of its rows, of three.
  std::optional<std::size_t> third;
  bool transposed = false;  ///< OpenCLIP's projection is the other way round.
};

/// Each takes a name without the part's prefix, and gives nothing for what is no part of such a network.

/// resnets: of a level on the way down.
std::optional<PartName> unet_name(std::string_view original, std::size_t resnets);
/// levels: of the VAE; the original counts its way up from the other end.
std::optional<PartName> vae_name(std::string_view original, std::size_t levels);
/// `third`: which of queries, keys and values is asked for where the tensor has all; else it must be 0.
std::optional<PartName> open_clip_name(std::string_view original, std::size_t third);

/// A number and the dot behind it, taken from the front of `text`; nothing where there is none.
std::optional<std::size_t> take_number(std::string_view& text);
/// Takes `start` from the front of `text`.
bool take_start(std::string_view& text, std::string_view start);

}  // namespace gf::pipeline
