#include "torch/weights.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

namespace gf::torch {
namespace {

/// Bytes of the buffer through which weights are converted; also how much is read between two questions for
/// cancellation.
constexpr std::uint64_t portion_bytes = std::uint64_t{1} << 20;

std::int64_t product(const std::vector<std::int64_t>& shape, std::size_t from = 0) {
  std::int64_t values = 1;
  for (auto i = from; i < shape.size(); ++i) values *= shape[i];
  return values;
}

at::ScalarType scalar_type(TensorType type) {
  switch (type) {
    case TensorType::f16:
      return at::kHalf;
    case TensorType::bf16:
      return at::kBFloat16;
    case TensorType::f64:
      return at::kDouble;
    case TensorType::f8_e4m3:
      return at::kFloat8_e4m3fn;
    case TensorType::f8_e5m2:
      return at::kFloat8_e5m2;
    default:
      return at::kFloat;
  }
}

}  // namespace

void WeightList::add(std::string name, std::vector<std::int64_t> shape, at::Tensor* slot, Layout layout) {
  weights_.push_back({std::move(name), std::move(shape), slot, 0, 0, {}, layout, {}});
}

void WeightList::add(std::string name, std::vector<std::int64_t> shape, Packable* layer, Layout layout) {
  add(std::move(name), std::move(shape), &layer->weight, layout);
  weights_.back().layers = {layer};
}

void WeightList::add_stacked(const std::vector<Rows>& parts, std::vector<std::int64_t> trailing_shape,
                             Packable* layer) {
  const auto from = weights_.size();
  add_stacked(parts, std::move(trailing_shape), &layer->weight);
  for (auto i = from; i < weights_.size(); ++i) weights_[i].layers = {layer};
}

void WeightList::add_split(std::string name, std::vector<std::int64_t> shape, const std::vector<Packable*>& layers) {
  std::vector<at::Tensor*> slots;
  for (auto* layer : layers) slots.push_back(&layer->weight);
  add_split(std::move(name), std::move(shape), slots);
  weights_.back().layers = layers;
}

std::vector<WeightList::Target> WeightList::targets() const {
  std::vector<Target> out;
  for (const auto& weight : weights_) {
    if (weight.layers.empty()) continue;
    Target target{weight.name, weight.shape, {}};
    const auto rows = weight.shape.front() / static_cast<std::int64_t>(weight.layers.size());
    for (auto* layer : weight.layers) target.parts.push_back({layer, weight.first_row, rows});
    out.push_back(std::move(target));
  }
  return out;
}

void WeightList::add_stacked(const std::vector<Rows>& parts, std::vector<std::int64_t> trailing_shape,
                             at::Tensor* slot) {
  std::int64_t total = 0;
  for (const auto& part : parts) total += part.rows;
  std::int64_t first = 0;
  for (const auto& part : parts) {
    std::vector<std::int64_t> shape = {part.rows};
    shape.insert(shape.end(), trailing_shape.begin(), trailing_shape.end());
    weights_.push_back({part.name, std::move(shape), slot, first, total, {}, Layout::plain, {}});
    first += part.rows;
  }
}

void WeightList::add_split(std::string name, std::vector<std::int64_t> shape, const std::vector<at::Tensor*>& slots) {
  weights_.push_back({std::move(name), std::move(shape), nullptr, 0, 0, slots, Layout::plain, {}});
}

void WeightList::expect(std::string name, std::vector<std::int64_t> shape) {
  weights_.push_back({std::move(name), std::move(shape), nullptr, 0, 0, {}, Layout::plain, {}});
}

void WeightList::expect_all(const WeightList& other) {
  for (const auto& weight : other.weights_) expect(weight.name, weight.shape);
}

Result<WeightReader> WeightReader::open(const Host& host, const std::string& folder, const std::string& stem) {
  WeightReader reader;
  reader.folder_ = folder;
  const auto take = [&](const std::string& name) -> Result<void> {
    GF_TRY(auto source, host.open(join_path(folder, name)));
    GF_TRY(auto file, Safetensors::open(std::move(source)));
    reader.files_.push_back(std::make_unique<Safetensors>(std::move(file)));
    return success();
  };
  for (const char* variant : {"", ".fp16"}) {
    const auto whole = fmt::format("{}{}.safetensors", stem, variant);
    if (host.has_file(join_path(folder, whole))) {
      GF_TRYV(take(whole));
      return reader;
    }
    const auto index_name = fmt::format("{}.safetensors.index{}.json", stem, variant);
    const auto index_path = join_path(folder, index_name);
    if (!host.has_file(index_path)) continue;
    GF_TRY(const auto text, host.read_text(index_path, 64 << 20));
    GF_TRY(const auto json, parse_json(text, index_path));
    const auto map = json->is_object() ? json->find("weight_map") : json->end();
    if (!json->is_object() || map == json->end() || !map->is_object()) {
      return Error{Status::corrupt_file, fmt::format("{}: weight_map is missing", index_path), {}};
    }
    std::set<std::string> names;
    for (const auto& [key, value] : map->items()) {
      const bool plain = value.is_string() &&
                         value.get_ref<const std::string&>().find_first_of("/\\") == std::string::npos &&
                         value.get_ref<const std::string&>().ends_with(".safetensors");
      if (!plain) {
        return Error{Status::corrupt_file,
                     fmt::format("{}: {} lies in {}, which is no file name", index_path, shown(key), to_text(value)),
                     {}};
      }
      names.insert(value.get<std::string>());
    }
    for (const auto& name : names) {
      GF_TRYV(take(name));
    }
    return reader;
  }
  // The pickled file is what such a folder most often holds instead; say so, since it is never read.
  const bool pickled =
      host.has_file(join_path(folder, stem + ".bin")) || host.has_file(join_path(folder, "pytorch_model.bin"));
  return Error{Status::not_found,
               fmt::format("{}: neither {}.safetensors nor {}.fp16.safetensors is there{}", folder, stem, stem,
                           pickled ? "; the pickled .bin beside it is not read, convert it to safetensors" : ""),
               {}};
}

std::uint64_t WeightReader::file_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file->file().size();
  return bytes;
}

WeightReader::Place WeightReader::find(const WeightList& list, const std::string& name,
                                       std::vector<std::string>& used) const {
  std::vector<std::string> candidates = {name};
  for (const auto& alias : list.prefixes_) {
    if (name.starts_with(alias.from)) candidates.push_back(alias.to + name.substr(alias.from.size()));
  }
  for (const auto& alias : list.parts_) {
    for (std::size_t i = 0, count = candidates.size(); i < count; ++i) {
      const auto at = candidates[i].find(alias.from);
      if (at == std::string::npos) continue;
      auto other = candidates[i];
      other.replace(at, alias.from.size(), alias.to);
      candidates.push_back(std::move(other));
    }
  }
  for (const auto& candidate : candidates) {
    for (const auto& file : files_) {
      if (const auto* entry = file->find(candidate)) {
        used.push_back(candidate);
        return {file.get(), entry};
      }
    }
  }
  return {};
}

Result<void> WeightReader::check(const WeightList& list) {
  places_.clear();
  unknown_.clear();
  memory_bytes_ = 0;
  parameters_ = 0;
  std::vector<std::string> missing;
  std::vector<std::string> used;
  for (const auto& weight : list.weights_) {
    const auto place = find(list, weight.name, used);
    places_.push_back(place);
    if (place.entry == nullptr) {
      missing.push_back(weight.name);
      continue;
    }
    const auto& path = place.file->file().path();
    // Old files keep the 1x1 convolutions of attention where linear layers are now, and the other way round.
    auto found = place.entry->shape;
    while (found.size() > weight.shape.size() && found.back() == 1) found.pop_back();
    auto wanted = weight.shape;
    while (wanted.size() > found.size() && wanted.back() == 1) wanted.pop_back();
    if (found != wanted) {
      return Error{Status::corrupt_file,
                   fmt::format("{}: tensor {} has the shape {}; its config needs {}", path, shown(weight.name),
                               shape_text(place.entry->shape), shape_text(weight.shape)),
                   {}};
    }
    if (!is_floating(place.entry->type)) {
      return Error{Status::unsupported_format,
                   fmt::format("{}: tensor {} holds whole numbers ({}) where weights are expected", path,
                               shown(weight.name), name_of(place.entry->type)),
                   {}};
    }
    if (weight.slot != nullptr || !weight.parts.empty()) {
      parameters_ += static_cast<std::uint64_t>(place.entry->values());
      memory_bytes_ += static_cast<std::uint64_t>(place.entry->values()) * sizeof(float);
    }
  }
  if (!missing.empty()) {
    const auto few = std::min<std::size_t>(missing.size(), 4);
    return Error{
        Status::corrupt_file,
        fmt::format("{}: {} of {} tensors are missing: {}{}",
                    files_.size() == 1 ? files_.front()->file().path() : folder_, missing.size(), list.weights_.size(),
                    fmt::join(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(few), ", "),
                    missing.size() > few ? ", ..." : ""),
        {}};
  }
  const std::unordered_set<std::string> known(used.begin(), used.end());
  for (const auto& file : files_) {
    for (const auto& [name, entry] : file->tensors()) {
      const auto& key = name;
      const bool ignored = std::any_of(list.ignored_.begin(), list.ignored_.end(),
                                       [&](const std::string& ending) { return key.ends_with(ending); });
      if (!ignored && !known.contains(name)) unknown_.push_back(name);
    }
  }
  return success();
}

Result<void> WeightReader::read_rows(const Place& place, const std::vector<std::int64_t>& shape, std::int64_t first,
                                     at::Tensor target, std::vector<std::byte>& buffer, LoadProgress& progress) {
  const auto rows = target.size(0);
  const auto row_values = product(shape, 1);
  const auto row_bytes = static_cast<std::uint64_t>(row_values) * bytes_per_value(place.entry->type);
  const auto start = row_bytes * static_cast<std::uint64_t>(first);
  if (place.entry->type == TensorType::f32 && target.is_contiguous()) {
    auto* into = static_cast<std::byte*>(target.data_ptr());
    const auto all = row_bytes * static_cast<std::uint64_t>(rows);
    for (std::uint64_t done = 0; done < all; done += portion_bytes) {
      const auto bytes = std::min(portion_bytes, all - done);
      GF_TRYV(place.file->read(*place.entry, start + done, std::span(into + done, bytes)));
      GF_TRYV(progress.advance(bytes));
    }
    return success();
  }
  // Converted row by row through a small buffer: a whole-tensor copy would double the largest weight.
  const auto at_once = static_cast<std::int64_t>(portion_bytes / std::max<std::uint64_t>(row_bytes, 1));
  const auto rows_at_once = std::clamp<std::int64_t>(at_once, 1, std::max<std::int64_t>(rows, 1));
  buffer.resize(std::max<std::uint64_t>(buffer.size(), row_bytes * static_cast<std::uint64_t>(rows_at_once)));
  for (std::int64_t row = 0; row < rows; row += rows_at_once) {
    const auto count = std::min(rows_at_once, rows - row);
    const auto bytes = row_bytes * static_cast<std::uint64_t>(count);
    GF_TRYV(place.file->read(*place.entry, start + row_bytes * static_cast<std::uint64_t>(row),
                             std::span(buffer).first(bytes)));
    auto portion = shape;
    portion[0] = count;
    const auto source =
        at::from_blob(buffer.data(), portion, at::TensorOptions().dtype(scalar_type(place.entry->type)));
    target.narrow(0, row, count).copy_(source);
    GF_TRYV(progress.advance(static_cast<std::uint64_t>(count * row_values) * sizeof(float)));
  }
  return success();
}

Result<void> WeightReader::read(const WeightList& list, LoadProgress& progress) {
  std::vector<std::byte> buffer;
  const auto float_options = at::TensorOptions().dtype(at::kFloat);
  for (std::size_t i = 0; i < list.weights_.size(); ++i) {
    const auto& weight = list.weights_[i];
    const auto& place = places_[i];
    if (weight.slot != nullptr) {
      if (!weight.slot->defined()) {
        auto shape = weight.shape;
        if (weight.total_rows != 0) shape[0] = weight.total_rows;
        const bool last = weight.layout == Layout::channels_last;
        *weight.slot =
            at::empty(shape, float_options, last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
      }
      const auto target =
          weight.total_rows == 0 ? *weight.slot : weight.slot->narrow(0, weight.first_row, weight.shape[0]);
      GF_TRYV(read_rows(place, weight.shape, 0, target, buffer, progress));
    }
    auto part_shape = weight.shape;
    if (!weight.parts.empty()) part_shape[0] /= static_cast<std::int64_t>(weight.parts.size());
    std::int64_t first = 0;
    for (auto* part : weight.parts) {
      *part = at::empty(part_shape, float_options);
      GF_TRYV(read_rows(place, weight.shape, first, *part, buffer, progress));
      first += part_shape[0];
    }
  }
  for (const auto& file : files_) {
    GF_TRYV(file->file().check_unchanged());
  }
  return success();
}

}  // namespace gf::torch
