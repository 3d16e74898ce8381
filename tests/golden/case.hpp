// One golden case: its manifest, its tensors, and the comparison with what was computed.
#pragma once

#include "base/json.hpp"
#include "base/result.hpp"
#include "base/safetensors.hpp"
#include "torch/host.hpp"
#include "torch/model.hpp"

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace golden {

/// How far one tensor is off, beside its bound.
struct Deviation {
  std::string tensor;
  double largest = 0;
  double bound = 0;
  bool passed() const { return largest <= bound; }
};

/// What running a case gave.
struct Outcome {
  std::optional<std::string> skipped;  ///< Why it was not run.
  std::vector<std::string> problems;   ///< Anything but a deviation.
  std::vector<Deviation> deviations;

  bool passed() const;
  /// The deviation that is nearest to its bound, or past it.
  const Deviation* worst() const;
  static Outcome fail(std::string problem);
};

class Case {
 public:
  /// Throws std::runtime_error when the manifest cannot be read: the folder itself is broken then.
  explicit Case(const std::string& folder);

  const std::string& name() const { return name_; }
  std::string kind() const { return manifest_.at("kind"); }
  std::string description() const { return manifest_.at("description"); }
  const gf::Json& params() const { return manifest_.at("params"); }
  std::string file(const std::string& relative) const { return gf::join_path(folder_, relative); }

  bool has_input(const std::string& name) const;
  at::Tensor input(const std::string& name) const;
  std::vector<std::string> expected_names() const;
  bool expects(const std::string& name) const;
  at::Tensor expected(const std::string& name) const;

  /// Adds the deviation of `actual` from the expected tensor, if the case has one of that name.
  void compare(Outcome& outcome, const std::string& name, const at::Tensor& actual) const;

 private:
  at::Tensor tensor(const gf::Safetensors& file, const std::string& name) const;

  std::string folder_;
  std::string name_;
  gf::Json manifest_;
  std::unique_ptr<gf::Safetensors> inputs_;
  std::unique_ptr<gf::Safetensors> expected_;
};

/// The root folder of the cases.
const std::string& root();

/// A host table over plain files, for the loaders; its log goes to a list.
const gf::torch::Host& host();
std::vector<std::string> take_host_log();
/// A call that is never cancelled, on two threads.
const gf::torch::Call& call();

/// Models are loaded once for all cases.
gf::Result<gf::torch::Model*> model(const std::string& relative_folder);

/// Why a case cannot be run by what is built so far; nullopt when it can.
std::optional<std::string> component_skip_reason(const Case& golden);
std::optional<std::string> pipeline_skip_reason(const Case& golden);

Outcome run_component(const Case& golden);  ///< tokenizer, rng, image bytes, text encoder, UNet, VAE, scheduler.
Outcome run_pipeline(const Case& golden);
Outcome run_key_inventory(const Case& golden);
Outcome run_malformed(const Case& golden);
Outcome run_lora(const Case& golden);
Outcome run_lora_error(const Case& golden);

}  // namespace golden
