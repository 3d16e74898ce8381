// Weights: which tensors a network needs, compared with what a file has before memory is taken, then read by position
// straight into their final storage.
#pragma once

#include "base/result.hpp"
#include "base/safetensors.hpp"
#include "torch/host.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gf::torch {

/// The layout of a weight in memory. Convolutions are kept with channels last, as the activations are: oneDNN then
/// reorders neither.
enum class Layout { plain, channels_last };

/// A weight that a layer may keep in a processor's own form, in which the plain one is then undefined.
struct Packable {
  at::Tensor weight;
  at::Tensor packed;  // Opaque to ATen; undefined while the weight is plain.

  bool defined() const { return weight.defined() || packed.defined(); }
  /// The plain weight, unpacked again where it is packed: the same values.
  at::Tensor plain() const { return weight.defined() ? weight : packed.to_dense(); }
};

/// What a network asks for. Networks declare into it when they are built; their tensors are undefined until
/// read_weights.
class WeightList {
 public:
  /// `slot` receives the whole tensor. The network, and with it the slot, must stay where it is.
  void add(std::string name, std::vector<std::int64_t> shape, at::Tensor* slot, Layout layout = Layout::plain);
  /// A layer's own weight, which can be changed after it was read.
  void add(std::string name, std::vector<std::int64_t> shape, Packable* layer, Layout layout = Layout::plain);

  /// Several tensors of equal trailing shape in one storage, one below the other: what is multiplied by the same input
  /// is then one multiplication.
  struct Rows {
    std::string name;
    std::int64_t rows = 0;
  };
  void add_stacked(const std::vector<Rows>& parts, std::vector<std::int64_t> trailing_shape, at::Tensor* slot);
  void add_stacked(const std::vector<Rows>& parts, std::vector<std::int64_t> trailing_shape, Packable* layer);

  /// One tensor of the file cut into equal parts along its rows, each in storage of its own.
  void add_split(std::string name, std::vector<std::int64_t> shape, const std::vector<at::Tensor*>& slots);
  void add_split(std::string name, std::vector<std::int64_t> shape, const std::vector<Packable*>& layers);

  /// A tensor of the file, and the rows of layers that it fills, in order.
  struct Target {
    struct Part {
      Packable* layer = nullptr;
      std::int64_t first_row = 0;
      std::int64_t rows = 0;
    };
    std::string name;  ///< Of the weight: "conv_in.weight".
    std::vector<std::int64_t> shape;
    std::vector<Part> parts;
  };
  /// What was added as layers' weights.
  std::vector<Target> targets() const;

  /// A tensor that the file must have and that is not taken into memory.
  void expect(std::string name, std::vector<std::int64_t> shape);
  /// Everything that `other` declares, as if by expect.
  void expect_all(const WeightList& other);

  /// Another prefix that the same tensors may stand under in older or newer files: `from` is replaced at the front.
  void allow_prefix(std::string from, std::string to) { prefixes_.push_back({std::move(from), std::move(to)}); }
  /// Another name for a last part such as "to_q": old files of the autoencoder call it "query".
  void allow_part(std::string from, std::string to) { parts_.push_back({std::move(from), std::move(to)}); }
  /// Tensors that may be in the file and mean nothing.
  void ignore(std::string ending) { ignored_.push_back(std::move(ending)); }

 private:
  friend class WeightReader;
  struct Weight {
    std::string name;
    std::vector<std::int64_t> shape;
    at::Tensor* slot = nullptr;  // nullptr: expected only.
    std::int64_t first_row = 0;
    std::int64_t total_rows = 0;     // 0: the slot holds this weight alone.
    std::vector<at::Tensor*> parts;  // Not empty: the slots of a split weight; slot is then nullptr.
    Layout layout = Layout::plain;
    std::vector<Packable*> layers;  // Of the slot, or of each part; empty: never changed after it was read.
  };
  struct Alias {
    std::string from;
    std::string to;
  };
  std::vector<Weight> weights_;
  std::vector<Alias> prefixes_;
  std::vector<Alias> parts_;
  std::vector<std::string> ignored_;
};

/// Reads one part of a model. Use: open, check (no memory taken yet), then read.
class WeightReader {
 public:
  /// Finds the weights in `folder` under `stem` ("diffusion_pytorch_model", "model"): STEM.safetensors, or
  /// STEM.fp16.safetensors, or the files of STEM.safetensors.index.json (then of STEM.safetensors.index.fp16.json).
  /// Errors: not_found names what was looked for; those of Safetensors.
  static Result<WeightReader> open(const Host& host, const std::string& folder, const std::string& stem);

  /// Compares names, shapes and types. Errors: corrupt_file with the count and the first missing names, or with the
  /// name, the expected and the found shape; unsupported_format for whole numbers where weights are expected.
  Result<void> check(const WeightList& list);

  /// Bytes that the weights take in memory, float32.
  std::uint64_t memory_bytes() const { return memory_bytes_; }
  std::uint64_t file_bytes() const;
  std::uint64_t parameters() const { return parameters_; }
  /// Names in the file that the network does not know.
  const std::vector<std::string>& unknown() const { return unknown_; }

  /// Allocates and fills every slot of the list that was checked. `progress` is told bytes of memory done; it asks for
  /// cancellation between tensors and between portions of large ones.
  /// Errors: cancelled; corrupt_file when the file ends early or changed meanwhile; io_error.
  Result<void> read(const WeightList& list, LoadProgress& progress);

 private:
  struct Place {
    const Safetensors* file = nullptr;
    const TensorEntry* entry = nullptr;
  };
  /// Reads rows [first, first + rows of target) of the tensor, converted, into target.
  static Result<void> read_rows(const Place& place, const std::vector<std::int64_t>& shape, std::int64_t first,
                                at::Tensor target, std::vector<std::byte>& buffer, LoadProgress& progress);
  Place find(const WeightList& list, const std::string& name, std::vector<std::string>& used) const;

  std::string folder_;
  std::vector<std::unique_ptr<Safetensors>> files_;
  std::vector<Place> places_;  // Of each weight of the list, in its order.
  std::uint64_t memory_bytes_ = 0;
  std::uint64_t parameters_ = 0;
  std::vector<std::string> unknown_;
};

}  // namespace gf::torch
