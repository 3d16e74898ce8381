// Names of a UNet's parts in the original checkpoints of Stable Diffusion (CompVis' and Stability's code), which model
// sites and LoRA trainers use beside those of diffusers.
#pragma once

#include "torch/config.hpp"

#include <string>
#include <string_view>

namespace gf::torch {

/// The original name of a diffusers name such as "down_blocks.0.resnets.1.conv1.weight":
/// "input_blocks.2.0.in_layers.2.weight". The name itself where it stands for no part of such a UNet.
std::string original_unet_name(const UnetConfig& config, std::string_view name);

}  // namespace gf::torch
