#include "torch/lora.hpp"

#include "base/sha256.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace gf::torch {
namespace {

/// How a module's tensors end, in every trainer's spelling, and what they are called here.
struct Ending {
  std::string_view text;
  std::string_view part;
};
constexpr std::array endings = {
    Ending{".lora_up.weight", "up"},
    Ending{".lora_down.weight", "down"},
    Ending{".lora_mid.weight", "mid"},
    Ending{".lora_B.weight", "up"},
    Ending{".lora_A.weight", "down"},
    Ending{".lora_B.default.weight", "up"},
    Ending{".lora_A.default.weight", "down"},
    Ending{".lora.up.weight", "up"},
    Ending{".lora.down.weight", "down"},
    Ending{".lora_linear_layer.up.weight", "up"},
    Ending{".lora_linear_layer.down.weight", "down"},
    Ending{".hada_w1_a", "w1_a"},
    Ending{".hada_w1_b", "w1_b"},
    Ending{".hada_w2_a", "w2_a"},
    Ending{".hada_w2_b", "w2_b"},
    Ending{".hada_t1", "t1"},
    Ending{".hada_t2", "t2"},
    Ending{".lokr_w1", "kr1"},
    Ending{".lokr_w1_a", "kr1_a"},
    Ending{".lokr_w1_b", "kr1_b"},
    Ending{".lokr_w2", "kr2"},
    Ending{".lokr_w2_a", "kr2_a"},
    Ending{".lokr_w2_b", "kr2_b"},
    Ending{".lokr_t2", "kr_t2"},
    Ending{".alpha", "alpha"},
};
/// What would change the result if it were passed over.
constexpr std::array<std::string_view, 2> not_built = {".dora_scale", ".lora_magnitude_vector"};

constexpr std::uint64_t portion_bytes = std::uint64_t{1} << 20;
constexpr std::size_t most_keys_shown = 20;

std::string underscored(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '.', '_');
  return out;
}

Error bad(const std::string& path, Status status, std::string what) {
  return Error{status, fmt::format("{}: {}", path, what), {}};
}

std::int64_t product_after(const std::vector<std::int64_t>& shape, std::size_t first) {
  std::int64_t out = 1;
  for (auto i = first; i < shape.size(); ++i) out *= shape[i];
  return out;
}

/// Where a module of any file's naming belongs: network and index of its target.
struct Place {
  std::size_t network = 0;
  std::size_t target = 0;
};
using Places = std::unordered_map<std::string, Place>;

Places places_of(const std::vector<LoraNetwork>& networks) {
  constexpr std::string_view weight = ".weight";
  Places out;
  for (std::size_t n = 0; n < networks.size(); ++n) {
    const auto& network = networks[n];
    for (std::size_t t = 0; t < network.targets.size(); ++t) {
      const auto& name = network.targets[t].name;
      std::vector<std::string> names = {name};
      if (network.original_name) names.push_back(network.original_name(name));
      for (auto& each : names) {
        if (each.ends_with(weight)) each.resize(each.size() - weight.size());
        for (const auto& prefix : network.prefixes) {
          const bool flat = prefix.ends_with('_');
          out.emplace(prefix + (flat ? underscored(each) : each), Place{n, t});
        }
      }
    }
  }
  return out;
}

/// diffusers before PEFT: "attn1.processor.to_q_lora" for what is "attn1.to_q".
std::string without_processor(std::string module) {
  constexpr std::string_view processor = ".processor.";
  constexpr std::string_view tail = "_lora";
  const auto at = module.find(processor);
  if (at == std::string::npos || !module.ends_with(tail)) return module;
  module.resize(module.size() - tail.size());
  module.replace(at, processor.size(), ".");
  if (module.ends_with(".to_out")) module += ".0";
  return module;
}

}  // namespace

Result<LoraFile> LoraFile::open(const Host& host, const std::string& path, const Call& call) {
  LoraFile out;
  out.path_ = path;
  GF_TRY(auto source, host.open(path));
  GF_TRY(auto file, Safetensors::open(std::move(source)));
  Sha256 sum;
  std::vector<std::byte> buffer(portion_bytes);
  const auto size = file.file().size();
  for (std::uint64_t done = 0; done < size; done += portion_bytes) {
    const auto portion = std::span(buffer).first(std::min(portion_bytes, size - done));
    GF_TRYV(file.file().read_at(done, portion));
    sum.add(portion);
    GF_TRYV(call.check());
  }
  out.hash_ = to_hex(sum.finish());
  out.file_ = std::make_shared<const Safetensors>(std::move(file));
  return out;
}

Result<LoraPatch> LoraPatch::plan(std::vector<LoraUse> uses, const std::vector<LoraNetwork>& networks, bool strict) {
  LoraPatch patch;
  // Sums of floats depend on their order: the files' contents decide it, not the caller.
  std::sort(uses.begin(), uses.end(), [](const LoraUse& a, const LoraUse& b) {
    return std::tuple(a.file.hash(), a.scale) < std::tuple(b.file.hash(), b.scale);
  });
  patch.uses_ = std::move(uses);
  const auto places = places_of(networks);
  std::map<std::pair<std::size_t, std::size_t>, std::vector<Module>> found;
  for (std::size_t u = 0; u < patch.uses_.size(); ++u) {
    const auto& file = patch.uses_[u].file;
    std::map<std::pair<std::size_t, std::size_t>, Module> modules;
    std::vector<std::string> unmatched;
    for (const auto& [key, entry] : file.file_->tensors()) {
      const std::string_view name = key;
      for (const auto ending : not_built) {
        if (!name.ends_with(ending)) continue;
        return bad(file.path(), Status::unsupported_format,
                   fmt::format("{} is of DoRA, which is not built", shown(key)));
      }
      const auto* ending =
          std::find_if(endings.begin(), endings.end(), [&](const Ending& each) { return name.ends_with(each.text); });
      auto place = places.end();
      std::string module;
      if (ending != endings.end()) {
        module = std::string(name.substr(0, name.size() - ending->text.size()));
        place = places.find(without_processor(module));
      }
      if (place == places.end()) {
        unmatched.push_back(key);
        continue;
      }
      auto& into = modules[{place->second.network, place->second.target}];
      into.use = u;
      into.name = module;
      if (!into.keys.emplace(ending->part, key).second) {
        return bad(file.path(), Status::corrupt_file,
                   fmt::format("{} is there twice, under two spellings: {} and {}", shown(module),
                               shown(into.keys.find(ending->part)->second), shown(key)));
      }
    }
    if (!unmatched.empty()) {
      const auto total = file.file_->tensors().size();
      const auto few = std::min(unmatched.size(), most_keys_shown);
      std::vector<std::string> names;
      for (std::size_t i = 0; i < few; ++i) names.push_back(shown(unmatched[i]));
      auto text =
          fmt::format("{}: {} of {} keys belong to nothing in this model{}: {}{}", file.path(), unmatched.size(), total,
                      unmatched.size() * 4 > total ? "; it may be a LoRA of another model family" : "",
                      fmt::join(names, ", "), unmatched.size() > few ? ", ..." : "");
      if (strict || modules.empty()) {
        Error error{Status::not_found, std::move(text), {}};
        for (const auto& key : unmatched) error.causes.push_back({Status::not_found, shown(key)});
        return error;
      }
      patch.warnings_.push_back(std::move(text));
    } else if (modules.empty()) {
      return bad(file.path(), Status::not_found, "it has no tensors");
    }
    for (auto& [at, module] : modules) found[at].push_back(std::move(module));
  }
  // By their shapes, since the networks may have no weights yet.
  std::map<const Packable*, std::uint64_t> layers;
  for (const auto& network : networks) {
    for (const auto& target : network.targets) {
      const auto row = static_cast<std::uint64_t>(product_after(target.shape, 1)) * sizeof(float);
      for (const auto& part : target.parts) layers[part.layer] += static_cast<std::uint64_t>(part.rows) * row;
    }
  }
  patch.bytes_.resize(networks.size());
  for (auto& [at, modules] : found) {
    const auto& target = networks[at.first].targets[at.second];
    for (const auto& part : target.parts) patch.bytes_[at.first] += std::exchange(layers[part.layer], 0);
    for (const auto& module : modules) {
      GF_TRYV(patch.check(module, target.shape));
    }
    patch.changes_.push_back({at.first, at.second, target.shape, std::move(modules)});
  }
  return patch;
}

bool LoraPatch::touches(std::size_t network) const {
  return std::any_of(changes_.begin(), changes_.end(), [&](const Change& each) { return each.network == network; });
}

const std::vector<std::int64_t>* LoraPatch::shape_of(const Module& module, std::string_view part) const {
  const auto key = module.keys.find(part);
  if (key == module.keys.end()) return nullptr;
  return &uses_[module.use].file.file_->find(key->second)->shape;
}

Result<void> LoraPatch::check(const Module& module, const std::vector<std::int64_t>& shape) const {
  const auto& path = uses_[module.use].file.path();
  const auto rows = shape.front();
  const auto columns = product_after(shape, 1);
  const auto get = [&](std::string_view part) { return shape_of(module, part); };
  const auto missing = [&](std::string_view half) {
    return bad(path, Status::corrupt_file, fmt::format("{}: its {} half is missing", shown(module.name), half));
  };
  const auto broken = [&](std::string_view what) {
    return bad(path, Status::corrupt_file, fmt::format("{}: {}", shown(module.name), what));
  };
  const auto misfit = [&](std::string_view part) {
    return bad(path, Status::invalid_argument,
               fmt::format("{} has the shape {}, which does not fit this model's weight of {}; it may be a LoRA of "
                           "another model family",
                           shown(module.keys.find(part)->second), shape_text(*get(part)), shape_text(shape)));
  };
  for (const auto& [part, key] : module.keys) {
    const auto& found = *get(part);
    const bool scalar = part == "alpha";
    const auto values = product_after(found, 0);
    if (scalar ? values != 1 : (found.size() < 2 || found.size() > 4 || values == 0)) {
      return broken(fmt::format("{} has the shape {}", shown(key), shape_text(found)));
    }
  }
  const auto size = [&](std::string_view part, std::size_t axis) { return (*get(part))[axis]; };
  if (get("up") != nullptr || get("down") != nullptr || get("mid") != nullptr) {
    if (get("up") == nullptr) return missing("up");
    if (get("down") == nullptr) return missing("down");
    if (size("up", 0) != rows) return misfit("up");
    if (const auto* mid = get("mid")) {
      if (mid->size() != 4 || (*mid)[0] != product_after(*get("up"), 1) || (*mid)[1] != size("down", 0)) {
        return broken("its middle tensor does not fit its halves");
      }
      if (product_after(*get("down"), 1) * (*mid)[2] * (*mid)[3] != columns) return misfit("down");
      return success();
    }
    if (product_after(*get("down"), 1) != columns) return misfit("down");
    if (product_after(*get("up"), 1) != size("down", 0)) {
      return broken(fmt::format("{} has the rank {}, and {} the rank {}", shown(module.keys.find("up")->second),
                                product_after(*get("up"), 1), shown(module.keys.find("down")->second),
                                size("down", 0)));
    }
    return success();
  }
  if (get("w1_a") != nullptr || get("w2_a") != nullptr) {
    for (const std::string_view part : {"w1_a", "w1_b", "w2_a", "w2_b"}) {
      if (get(part) == nullptr) return missing(part);
      if (get(part)->size() != 2) return broken(fmt::format("{} is no matrix", part));
    }
    if ((get("t1") != nullptr) != (get("t2") != nullptr)) return missing(get("t1") != nullptr ? "t2" : "t1");
    for (const auto& [a, b, t] : {std::tuple("w1_a", "w1_b", "t1"), std::tuple("w2_a", "w2_b", "t2")}) {
      if (const auto* middle = get(t)) {
        if (middle->size() != 4 || (*middle)[0] != size(a, 0) || (*middle)[1] != size(b, 0)) {
          return broken(fmt::format("{} does not fit {} and {}", t, a, b));
        }
        if (size(a, 1) != rows) return misfit(a);
        if (size(b, 1) * (*middle)[2] * (*middle)[3] != columns) return misfit(b);
        continue;
      }
      if (size(a, 1) != size(b, 0)) {
        return broken(fmt::format("{} and {} have the ranks {} and {}", a, b, size(a, 1), size(b, 0)));
      }
      if (size(a, 0) != rows) return misfit(a);
      if (size(b, 1) != columns) return misfit(b);
    }
    return success();
  }
  return check_kronecker(module, rows, columns);
}

Result<void> LoraPatch::check_kronecker(const Module& module, std::int64_t rows, std::int64_t columns) const {
  const auto& path = uses_[module.use].file.path();
  const auto broken = [&](std::string_view what) {
    return bad(path, Status::corrupt_file, fmt::format("{}: {}", shown(module.name), what));
  };
  // Rows and columns of a factor, given whole or as a product.
  const auto factor = [&](std::string_view whole, std::string_view a, std::string_view b,
                          std::string_view middle) -> Result<std::pair<std::int64_t, std::int64_t>> {
    if (const auto* shape = shape_of(module, whole)) return std::pair((*shape)[0], product_after(*shape, 1));
    const auto* left = shape_of(module, a);
    const auto* right = shape_of(module, b);
    if (left == nullptr || right == nullptr) {
      return broken(fmt::format("it has neither {} nor {} and {}", whole, a, b));
    }
    if (const auto* t = shape_of(module, middle)) {
      if (t->size() != 4 || left->size() != 2 || right->size() != 2 || (*t)[0] != (*left)[0] ||
          (*t)[1] != (*right)[0]) {
        return broken(fmt::format("{} does not fit {} and {}", middle, a, b));
      }
      return std::pair((*left)[1], (*right)[1] * (*t)[2] * (*t)[3]);
    }
    if (product_after(*left, 1) != (*right)[0]) {
      return broken(fmt::format("{} and {} have the ranks {} and {}", a, b, product_after(*left, 1), (*right)[0]));
    }
    return std::pair((*left)[0], product_after(*right, 1));
  };
  GF_TRY(const auto first, factor("kr1", "kr1_a", "kr1_b", ""));
  GF_TRY(const auto second, factor("kr2", "kr2_a", "kr2_b", "kr_t2"));
  if (first.first * second.first != rows || first.second * second.second != columns) {
    return bad(
        path, Status::invalid_argument,
        fmt::format("{}: its factors give {} x {}, this model's weight is {} x {}; it may be a LoRA of another "
                    "model family",
                    shown(module.name), first.first * second.first, first.second * second.second, rows, columns));
  }
  return success();
}

Result<at::Tensor> LoraPatch::tensor(const Module& module, std::string_view part) const {
  const auto& file = uses_[module.use].file;
  const auto& key = module.keys.find(part)->second;
  GF_TRY(const auto values, file.file_->read_floats(key));
  const auto out = at::tensor(values).reshape(file.file_->find(key)->shape);
  if (!out.isfinite().all().item<bool>()) {
    return bad(file.path(), Status::not_finite, fmt::format("{} holds values that are not finite", shown(key)));
  }
  return out;
}

Result<double> LoraPatch::factor(const Module& module, std::int64_t rank) const {
  const auto key = module.keys.find("alpha");
  if (key == module.keys.end()) return 1.0;
  const auto& file = uses_[module.use].file;
  const auto& entry = *file.file_->find(key->second);
  double alpha = 0;
  if (entry.type == TensorType::i64 || entry.type == TensorType::i32) {
    std::array<std::byte, 8> bytes{};
    GF_TRYV(file.file_->read(entry, 0, std::span(bytes).first(entry.bytes)));
    std::int64_t wide = 0;
    std::int32_t narrow = 0;
    std::memcpy(&wide, bytes.data(), sizeof wide);
    std::memcpy(&narrow, bytes.data(), sizeof narrow);
    alpha = static_cast<double>(entry.type == TensorType::i64 ? wide : narrow);
  } else {
    GF_TRY(const auto values, file.file_->read_floats(key->second));
    alpha = values.front();
  }
  if (!std::isfinite(alpha)) {
    return bad(file.path(), Status::not_finite, fmt::format("{} is not finite", shown(key->second)));
  }
  return alpha / static_cast<double>(rank);
}

Result<at::Tensor> LoraPatch::delta(const Module& module, const std::vector<std::int64_t>& shape) const {
  const auto has = [&](std::string_view part) { return module.keys.contains(part); };
  if (has("up")) {
    GF_TRY(const auto up, tensor(module, "up"));
    GF_TRY(const auto down, tensor(module, "down"));
    GF_TRY(const auto scale, factor(module, down.size(0)));
    if (has("mid")) {
      GF_TRY(const auto mid, tensor(module, "mid"));
      return at::einsum("or,rskl,si->oikl", {up.flatten(1), mid, down.flatten(1)}).reshape(shape) * scale;
    }
    return at::mm(up.flatten(1), down.flatten(1)).reshape(shape) * scale;
  }
  if (has("w1_a")) {
    const auto half = [&](std::string_view a, std::string_view b, std::string_view t) -> Result<at::Tensor> {
      GF_TRY(const auto left, tensor(module, a));
      GF_TRY(const auto right, tensor(module, b));
      if (!has(t)) return at::mm(left, right).reshape(shape);
      GF_TRY(const auto middle, tensor(module, t));
      return at::einsum("rskl,ro,si->oikl", {middle, left, right}).reshape(shape);
    };
    GF_TRY(const auto first, half("w1_a", "w1_b", "t1"));
    GF_TRY(const auto second, half("w2_a", "w2_b", "t2"));
    GF_TRY(const auto scale, factor(module, (*shape_of(module, "w1_b"))[0]));
    return first * second * scale;
  }
  const auto part = [&](std::string_view whole, std::string_view a, std::string_view b,
                        std::string_view t) -> Result<at::Tensor> {
    if (has(whole)) return tensor(module, whole);
    GF_TRY(const auto left, tensor(module, a));
    GF_TRY(const auto right, tensor(module, b));
    if (has(t)) {
      GF_TRY(const auto middle, tensor(module, t));
      return at::einsum("rskl,ro,si->oikl", {middle, left, right});
    }
    return at::mm(left.flatten(1), right.flatten(1));
  };
  GF_TRY(auto first, part("kr1", "kr1_a", "kr1_b", ""));
  GF_TRY(auto second, part("kr2", "kr2_a", "kr2_b", "kr_t2"));
  double scale = 1;
  if (has("kr1_b") || has("kr2_b")) {
    GF_TRY(scale, factor(module, (*shape_of(module, has("kr2_b") ? "kr2_b" : "kr1_b"))[0]));
  }
  if (shape.size() == 4) {
    // Of a convolution the small first factor repeats over the window.
    const auto rows = second.size(0);
    second = second.reshape({rows, shape[1] / first.size(1), shape[2], shape[3]});
    first = first.reshape({first.size(0), first.size(1), 1, 1});
  } else {
    second = second.flatten(1);
  }
  return at::kron(first.contiguous(), second.contiguous()).reshape(shape) * scale;
}

Result<void> LoraPatch::apply(std::size_t network, const std::vector<WeightList::Target>& targets,
                              const Call& call) const {
  std::set<const Packable*> own;  // Layers whose weight is this network's alone by now.
  for (const auto& change : changes_) {
    if (change.network != network) continue;
    GF_TRYV(call.check());
    at::Tensor sum;
    for (const auto& module : change.modules) {
      const auto scale = uses_[module.use].scale;
      if (scale == 0) continue;
      GF_TRY(const auto one, delta(module, change.shape));
      sum = sum.defined() ? sum.add_(one, scale) : one * scale;
    }
    if (!sum.defined()) continue;
    std::int64_t first = 0;
    for (const auto& part : targets[change.target].parts) {
      if (own.insert(part.layer).second) {
        const auto plain = part.layer->plain();
        const auto format = plain.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
        part.layer->weight = plain.clone(format);
        part.layer->packed.reset();
      }
      const auto rows = sum.narrow(0, first, part.rows);
      auto into = part.layer->weight.narrow(0, part.first_row, part.rows);
      into.add_(rows.reshape(into.sizes()));
      first += part.rows;
    }
  }
  for (const auto& use : uses_) {
    GF_TRYV(use.file.file_->file().check_unchanged());
  }
  return success();
}

}  // namespace gf::torch
