// AutoencoderKL: latents to pixels and back (Rombach et al. 2022; diffusers' AutoencoderKL).
#pragma once

#include "torch/config.hpp"
#include "torch/layers.hpp"

#include <ATen/ATen.h>

#include <vector>

namespace gf::torch {

enum class VaeParts { decoder, encoder, both };

/// Immutable once its weights are read. Threads: any.
class Vae {
 public:
  /// `parts`: the other half's weights must be in the file but take no memory.
  Vae(const VaeConfig& config, VaeParts parts);
  Vae(const Vae&) = delete;
  Vae& operator=(const Vae&) = delete;

  void declare(WeightList& list);
  const VaeConfig& config() const { return config_; }
  VaeParts parts() const { return parts_; }

  /// Lays the decoder's weights out for latents of this size; other sizes stay possible. Once, after the weights were
  /// read.
  void pack(std::int64_t height, std::int64_t width);

  /// latents: [batch, latent_channels, h, w], times the scaling factor. Result: [batch, 3, h * factor, w * factor],
  /// about -1 to 1.
  at::Tensor decode(const at::Tensor& latents, Wrap wrap = {}) const;
  /// The same in overlapping tiles that are blended, so that what is held at a time does not grow with the picture.
  /// Each tile is normalised by itself, and attends to itself alone: the pixels differ from decode()'s, a picture of at
  /// most one tile excepted. Progress is told in tiles. Errors: cancelled.
  Result<at::Tensor> decode_in_tiles(const at::Tensor& latents, const Call& call, Wrap wrap = {}) const;
  static constexpr std::int64_t tile_latents = 32;     ///< A side.
  static constexpr std::int64_t overlap_latents = 12;  ///< Of neighbours.

  /// Mean and log variance (clamped to -30..20) of the latents, before the scaling factor. image: [batch, 3, h, w], -1
  /// to 1.
  struct Distribution {
    at::Tensor mean;
    at::Tensor log_variance;
  };
  Distribution encode(const at::Tensor& image, Wrap wrap = {}) const;

 private:
  struct Attention {
    GroupNorm norm;
    Linear qkv;
    Linear out;
    void declare(WeightList& list, const std::string& name, std::int64_t channels, std::int64_t groups);
    at::Tensor forward(const at::Tensor& x) const;
  };
  struct Middle {
    ResnetBlock first;
    Attention attention;
    ResnetBlock second;
    bool attends = false;
    void declare(WeightList& list, const std::string& name, std::int64_t channels, const VaeConfig& config);
    at::Tensor forward(const at::Tensor& x, Wrap wrap) const;
  };
  struct Level {
    std::vector<ResnetBlock> resnets;
    Conv resample;  // weight undefined on the level that changes no size.
  };
  struct Half {
    Conv in;
    std::vector<Level> levels;
    Middle middle;
    GroupNorm norm_out;
    Conv out;
  };
  void declare_decoder(WeightList& list);
  void declare_encoder(WeightList& list);

  VaeConfig config_;
  VaeParts parts_;
  Half decoder_;
  Half encoder_;
  Conv quant_;
  Conv post_quant_;
};

}  // namespace gf::torch
