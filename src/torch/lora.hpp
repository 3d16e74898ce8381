// LoRA and its kin: small files that change a model's weights. LoRA (Hu et al. 2021), LoCon with and without Tucker's
// middle tensor, LoHa (Hyeon-Woo et al. 2021) and LoKr (Yeh et al. 2023), under the names of kohya's trainer, PEFT and
// diffusers.
#pragma once

#include "base/result.hpp"
#include "torch/host.hpp"
#include "torch/weights.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gf::torch {

/// An open LoRA file. Immutable. Threads: any.
class LoraFile {
 public:
  /// Reads the header and the content's hash. Errors: those of Safetensors::open and of reading; cancelled.
  static Result<LoraFile> open(const Host& host, const std::string& path, const Call& call);

  const std::string& path() const { return path_; }
  /// SHA-256 of the whole file, hex.
  const std::string& hash() const { return hash_; }
  /// Errors: corrupt_file when the file is no longer the one that was opened.
  Result<void> check_unchanged() const { return file_->file().check_unchanged(); }

 private:
  friend class LoraPatch;
  std::string path_;
  std::string hash_;
  std::shared_ptr<const Safetensors> file_;
};

/// One file and how strongly it counts.
struct LoraUse {
  LoraFile file;
  double scale = 1;
};

/// A network's weights by the names under which LoRA files know them.
struct LoraNetwork {
  std::vector<std::string> prefixes;  ///< "lora_unet_", "unet.": what stands before a module's name.
  std::vector<WeightList::Target> targets;
  /// Another name of a weight, as original checkpoints have it; may be empty.
  std::function<std::string(std::string_view)> original_name;
};

/// What a set of files does to a model: computed per weight, added in an order that does not depend on the caller's.
class LoraPatch {
 public:
  /// Finds what each key of each file belongs to, and compares the shapes. Keys that belong to nothing are an error
  /// when `strict`; else they are named in `warnings`. Errors: not_found (no key fits, or strict and some do not),
  /// corrupt_file (a half is missing, shapes that do not fit each other), invalid_argument (shapes that do not fit the
  /// model), unsupported_format (a kind that is not built); each names the file and the key.
  static Result<LoraPatch> plan(std::vector<LoraUse> uses, const std::vector<LoraNetwork>& networks, bool strict);

  const std::vector<std::string>& warnings() const { return warnings_; }
  /// Bytes of one network's layers whose weights will be changed, and so be held twice: of whole layers, where a file
  /// changes the queries alone of a layer that gives keys and values too.
  std::uint64_t bytes(std::size_t network) const { return bytes_[network]; }
  /// Whether it changes one of the network's weights.
  bool touches(std::size_t network) const;

  /// Adds to the targets of one network, in place: give it a twin's. The layers must be packed again after it.
  /// Errors: not_finite names the key; cancelled; those of reading.
  Result<void> apply(std::size_t network, const std::vector<WeightList::Target>& targets, const Call& call) const;

 private:
  /// A module's tensors in one file, by their last part ("lora_up.weight").
  struct Module {
    std::size_t use = 0;
    std::string name;  // As the file has it, for messages.
    std::map<std::string, std::string, std::less<>> keys;
  };
  /// What happens to one weight: modules in the files' canonical order.
  struct Change {
    std::size_t network = 0;
    std::size_t target = 0;
    std::vector<std::int64_t> shape;
    std::vector<Module> modules;
  };

  const std::vector<std::int64_t>* shape_of(const Module& module, std::string_view part) const;
  /// Whether the module's parts fit each other and a weight of `shape`.
  Result<void> check(const Module& module, const std::vector<std::int64_t>& shape) const;
  Result<void> check_kronecker(const Module& module, std::int64_t rows, std::int64_t columns) const;
  Result<at::Tensor> tensor(const Module& module, std::string_view part) const;
  Result<double> factor(const Module& module, std::int64_t rank) const;
  Result<at::Tensor> delta(const Module& module, const std::vector<std::int64_t>& shape) const;

  std::vector<LoraUse> uses_;
  std::vector<Change> changes_;
  std::vector<std::string> warnings_;
  std::vector<std::uint64_t> bytes_;  // By network.
};

}  // namespace gf::torch
