// Single-file checkpoints: names and shapes of the full-size models, and the small ones' bytes, beside their folders.
#include "base/json.hpp"
#include "case.hpp"
#include "files.hpp"
#include "pipeline/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace golden {
namespace {

namespace fs = std::filesystem;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// A file with these tensors, half precision and all zeros, which takes no room on disk.
void write_sparse(const std::string& path, const Shapes& tensors) {
  gf::Json header = gf::Json::object();
  std::uint64_t at = 0;
  for (const auto& [name, shape] : tensors) {
    std::uint64_t bytes = 2;
    for (const auto side : shape) bytes *= static_cast<std::uint64_t>(side);
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  const auto text = header.dump();
  const auto length = static_cast<std::uint64_t>(text.size());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << text;
  out.close();
  fs::resize_file(path, sizeof length + text.size() + at);
}

Shapes shapes_of(const gf::Json& json) {
  Shapes out;
  for (const auto& [name, shape] : json.items()) out[name] = shape.get<std::vector<std::int64_t>>();
  return out;
}

/// Without trailing sides of 1: checkpoints keep the VAE's attention as 1x1 convolutions.
std::vector<std::int64_t> plain(std::vector<std::int64_t> shape) {
  while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
  return shape;
}

/// Whether `halves` are what `floats` become in half precision, whose step is 2^-10 of a value and at least 2^-24.
bool are_rounded(const std::vector<float>& floats, const std::vector<float>& halves) {
  for (std::size_t at = 0; at < floats.size(); ++at) {
    const auto step = std::max(std::abs(floats[at]) * 0x1p-10F, 0x1p-24F);
    if (!(std::abs(floats[at] - halves[at]) <= step / 2)) return false;
  }
  return true;
}

const std::map<std::string, std::string>& weight_files() {
  static const std::map<std::string, std::string> files = {{"unet", "unet/diffusion_pytorch_model.safetensors"},
                                                           {"vae", "vae/diffusion_pytorch_model.safetensors"},
                                                           {"text_encoder", "text_encoder/model.safetensors"},
                                                           {"text_encoder_2", "text_encoder_2/model.safetensors"}};
  return files;
}

/// What the inventory calls a part's config.
std::string config_name(const std::string& part) {
  if (part == "text_encoder") return "te";
  return part == "text_encoder_2" ? "te2" : part;
}

void compare_config(const std::string& file, const std::string& part, const gf::Json& found, const gf::Json& wanted,
                    Outcome& outcome) {
  for (const auto& [key, value] : wanted.items()) {
    // The inventory was made at the small models' size; what a file does not tell has the published models' value.
    if (key == "sample_size" || !found.contains(key)) continue;
    auto is = found.at(key);
    // One number stands for as many as there are levels.
    if (is.is_array() && !value.is_array()) is = is.front();
    if (is == value || (key == "projection_dim" && part == "text_encoder") || key == "eos_token_id") continue;
    outcome.problems.push_back(fmt::format("{}: {}.{} is {}, not {}", file, part, key, is.dump(), value.dump()));
  }
}

void inventory(const Case& golden, const std::string& file, Outcome& outcome) {
  const auto text = gf::read_text(golden.file(file), 16 << 20).value();
  const auto json = gf::parse_json(text, file).value();
  const gf::test::TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  write_sparse(path, shapes_of(json->at("single_file")));
  const auto opened = gf::pipeline::Checkpoint::open(path);
  if (!opened) {
    outcome.problems.push_back(file + ": " + opened.error().message);
    return;
  }
  for (const auto& [part, tensors] : json->at("diffusers").items()) {
    auto source = opened.value()->open_file(weight_files().at(part));
    if (!source) {
      outcome.problems.push_back(file + ": " + source.error().message);
      continue;
    }
    const auto weights = gf::Safetensors::open(std::move(source).value());
    if (!weights) {
      outcome.problems.push_back(file + ": " + weights.error().message);
      continue;
    }
    const auto wanted = shapes_of(tensors);
    for (const auto& [name, shape] : wanted) {
      const auto* entry = weights.value().find(name);
      if (entry == nullptr) {
        outcome.problems.push_back(fmt::format("{}: {} lacks {}", file, part, name));
      } else if (plain(entry->shape) != plain(shape)) {
        outcome.problems.push_back(fmt::format("{}: {} has {} as {}", file, part, name, gf::shape_text(entry->shape)));
      }
    }
    for (const auto& [name, entry] : weights.value().tensors()) {
      if (!wanted.contains(name)) outcome.problems.push_back(fmt::format("{}: {} has {} too", file, part, name));
    }
    const auto config_file = opened.value()->open_file(part + "/config.json").value();
    const auto config_text = gf::read_text(*config_file, 1 << 20).value();
    const auto config = gf::parse_json(config_text, "config").value();
    if (json->at("configs").contains(config_name(part))) {
      compare_config(file, part, *config, json->at("configs").at(config_name(part)), outcome);
    }
  }
}

}  // namespace

Outcome run_key_inventory(const Case& golden) {
  Outcome outcome;
  for (const auto& file : golden.params().at("files")) inventory(golden, file.get<std::string>(), outcome);
  // The small models that lie beside the cases, byte for byte.
  const auto models = fs::path(root()) / "models";
  for (const auto* name : {"sd15", "sd2", "sdxl"}) {
    const auto path = models / "single-file" / (std::string(name) + ".safetensors");
    if (!fs::exists(path)) continue;
    const auto opened = gf::pipeline::Checkpoint::open(path);
    if (!opened) {
      outcome.problems.push_back(opened.error().message);
      continue;
    }
    for (const auto& [part, inner] : weight_files()) {
      // The files have half precision.
      auto whole = models / name / inner;
      whole.replace_extension(".fp16.safetensors");
      if (!fs::exists(whole)) whole = models / name / inner;
      if (!fs::exists(whole)) continue;
      const auto wanted = gf::Safetensors::open(whole.string()).value();
      auto source = opened.value()->open_file(inner);
      if (!source) {
        outcome.problems.push_back(source.error().message);
        continue;
      }
      const auto found = gf::Safetensors::open(std::move(source).value()).value();
      for (const auto& [tensor, entry] : wanted.tensors()) {
        const auto* other = found.find(tensor);
        if (tensor.ends_with(".position_ids")) continue;
        if (other == nullptr || other->values() != entry.values()) {
          outcome.problems.push_back(fmt::format("{}: {} is missing or of another size", inner, tensor));
          continue;
        }
        if (other->type != entry.type) {
          // The folder has single precision: its values rounded are the file's.
          if (!are_rounded(wanted.read_floats(tensor).value(), found.read_floats(tensor).value())) {
            outcome.problems.push_back(fmt::format("{}: {} has other values", inner, tensor));
          }
          continue;
        }
        std::vector<std::byte> one(entry.bytes);
        std::vector<std::byte> two(entry.bytes);
        if (!wanted.read(entry, 0, one) || !found.read(*other, 0, two) || one != two) {
          outcome.problems.push_back(fmt::format("{}: {} has other bytes", inner, tensor));
        }
      }
    }
    for (const auto* file : {"tokenizer/merges.txt", "tokenizer/vocab.json"}) {
      const auto wanted = gf::read_text((models / name / file).string(), 4 << 20).value();
      const auto found = gf::read_text(*opened.value()->open_file(file).value(), 4 << 20).value();
      const bool json = std::string(file).ends_with(".json");
      if (json ? *gf::parse_json(wanted, file).value() != *gf::parse_json(found, file).value() : wanted != found) {
        outcome.problems.push_back(fmt::format("{}: {} is not the folder's", name, file));
      }
    }
  }
  return outcome;
}

}  // namespace golden
