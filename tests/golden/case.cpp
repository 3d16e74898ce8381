#include "case.hpp"

#include "file_host.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

namespace golden {
namespace {

template <class T>
T value_or_throw(gf::Result<T> result) {
  if (!result.has_value()) throw std::runtime_error(result.error().message);
  return std::move(result).assume_value();
}

support::FileHost& file_host() {
  static support::FileHost host;
  return host;
}

}  // namespace

bool Outcome::passed() const {
  if (!problems.empty()) return false;
  for (const auto& deviation : deviations) {
    if (!deviation.passed()) return false;
  }
  return true;
}

const Deviation* Outcome::worst() const {
  const Deviation* found = nullptr;
  const auto share = [](const Deviation& d) {
    return d.bound > 0 ? d.largest / d.bound : (d.largest > 0 ? HUGE_VAL : 0);
  };
  for (const auto& deviation : deviations) {
    if (found == nullptr || !(share(deviation) <= share(*found))) found = &deviation;
  }
  return found;
}

Outcome Outcome::fail(std::string problem) {
  Outcome outcome;
  outcome.problems.push_back(std::move(problem));
  return outcome;
}

Case::Case(const std::string& folder) : folder_(folder) {
  const auto path = gf::join_path(folder, "manifest.json");
  const auto text = value_or_throw(gf::read_text(path, 16 << 20));
  manifest_ = *value_or_throw(gf::parse_json(text, path));
  name_ = manifest_.at("case");
  const auto open = [&](const char* key) -> std::unique_ptr<gf::Safetensors> {
    if (!manifest_.contains(key)) return nullptr;
    return std::make_unique<gf::Safetensors>(value_or_throw(gf::Safetensors::open(file(manifest_.at(key)))));
  };
  inputs_ = open("inputs_file");
  expected_ = open("expected_file");
}

at::Tensor Case::tensor(const gf::Safetensors& from, const std::string& name) const {
  const auto* entry = from.find(name);
  if (entry == nullptr) throw std::runtime_error(fmt::format("{}: tensor {} is missing", name_, name));
  at::ScalarType type;
  switch (entry->type) {
    case gf::TensorType::f32:
      type = at::kFloat;
      break;
    case gf::TensorType::f16:
      type = at::kHalf;
      break;
    case gf::TensorType::i64:
      type = at::kLong;
      break;
    case gf::TensorType::u8:
      type = at::kByte;
      break;
    default:
      throw std::runtime_error(fmt::format("{}: tensor {} has the type {}", name_, name, gf::name_of(entry->type)));
  }
  auto result = at::empty(entry->shape, type);
  value_or_throw([&]() -> gf::Result<int> {
    GF_TRYV(from.read(*entry, 0, {static_cast<std::byte*>(result.data_ptr()), entry->bytes}));
    return 0;
  }());
  return result;
}

bool Case::has_input(const std::string& name) const { return inputs_ && inputs_->find(name) != nullptr; }
at::Tensor Case::input(const std::string& name) const { return tensor(*inputs_, name); }
bool Case::expects(const std::string& name) const { return manifest_.at("expected").contains(name); }
at::Tensor Case::expected(const std::string& name) const { return tensor(*expected_, name); }

std::vector<std::string> Case::expected_names() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : manifest_.at("expected").items()) names.push_back(name);
  return names;
}

void Case::compare(Outcome& outcome, const std::string& name, const at::Tensor& actual) const {
  if (!expects(name)) return;
  const auto& tolerance = manifest_.at("expected").at(name).at("tolerance");
  const auto wanted = expected(name);
  if (wanted.sizes() != actual.sizes()) {
    outcome.problems.push_back(fmt::format("{} has the shape {}, expected {}", name,
                                           gf::shape_text({actual.sizes().begin(), actual.sizes().end()}),
                                           gf::shape_text({wanted.sizes().begin(), wanted.sizes().end()})));
    return;
  }
  Deviation deviation{name, 0, 0};
  if (!tolerance.value("exact", false)) deviation.bound = tolerance.at("max_abs").get<double>();
  if (wanted.numel() > 0) {
    const auto difference = (actual.to(at::kDouble) - wanted.to(at::kDouble)).abs();
    deviation.largest = difference.isnan().any().item<bool>() ? HUGE_VAL : difference.max().item<double>();
  }
  outcome.deviations.push_back(std::move(deviation));
}

const std::string& root() {
  static const std::string folder = [] {
    const char* given = std::getenv("GAMEFORGE_GOLDEN_DIR");
    return std::string(given != nullptr && *given != '\0' ? given : GOLDEN_DEFAULT_DIR);
  }();
  return folder;
}

std::vector<std::string> take_host_log() { return file_host().take_log(); }

const gf::torch::Host& host() {
  static const gf::torch::Host wrapped(file_host().table());
  return wrapped;
}

const gf::torch::Call& call() {
  static const gf_backend_call raw = {
      sizeof(gf_backend_call), 2, nullptr, [](void*) -> std::uint32_t { return 0; }, nullptr, 0, 0};
  static const gf::torch::Call wrapped(&raw);
  return wrapped;
}

gf::Result<gf::torch::Model*> model(const std::string& relative_folder) {
  static std::map<std::string, std::unique_ptr<gf::torch::Model>> loaded;
  auto& slot = loaded[relative_folder];
  if (!slot) {
    GF_TRY(slot, gf::torch::Model::load(host(), gf::join_path(root(), relative_folder), 0, call(),
                                        gf::torch::VaeParts::both));
  }
  return slot.get();
}

}  // namespace golden
