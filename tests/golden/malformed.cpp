// Golden cases of broken files: what must load loads, everything else gives a typed error that names the file.
#include "case.hpp"
#include "files.hpp"
#include "torch/run.hpp"

#include <fmt/format.h>

#include <filesystem>

#include <unistd.h>

namespace golden {
namespace {

namespace fs = std::filesystem;

/// A folder of links to a model's files, removed with this object; one file can be put in another's place.
class ModelCopy {
 public:
  explicit ModelCopy(const fs::path& original) {
    const auto from = fs::absolute(original);
    for (const auto& entry : fs::recursive_directory_iterator(from)) {
      const auto to = fs::path(folder_.path()) / fs::relative(entry.path(), from);
      if (entry.is_directory())
        fs::create_directory(to);
      else
        fs::create_symlink(entry.path(), to);
    }
  }
  const std::string& folder() const { return folder_.path(); }
  void replace(const fs::path& relative, const fs::path& by) {
    fs::remove(folder_ / relative.string());
    fs::create_symlink(fs::absolute(by), folder_ / relative.string());
  }

 private:
  gf::test::TemporaryFolder folder_;
};

bool is_data_error(gf::Status status) {
  const auto number = static_cast<int>(status);
  return number / 100 == 4 || status == gf::Status::payload_too_large;
}

Outcome configs(const Case& golden) {
  Outcome outcome;
  for (const auto& row : golden.params().at("files")) {
    const auto file = row.at("file").get<std::string>();
    const auto replaces = row.at("replaces").get<std::string>();
    const auto of = replaces.find(" of a copy of ");
    const auto relative = replaces.substr(0, of);
    const auto original = fs::path(root()) / replaces.substr(of + 14);
    if (&row == &golden.params().at("files").front()) {
      const ModelCopy control(original);
      const auto loaded = gf::torch::Model::load(host(), control.folder(), 0, call());
      if (!loaded.has_value()) return Outcome::fail("the control does not load: " + loaded.error().message);
    }
    ModelCopy copy(original);
    copy.replace(relative, fs::path(root()) / file);
    const auto loaded = gf::torch::Model::load(host(), copy.folder(), 0, call());
    const bool may_load = row.at("expected").get<std::string>().starts_with("loads, or");
    if (loaded.has_value()) {
      if (!may_load) outcome.problems.push_back(file + " loads");
      continue;
    }
    const auto& error = loaded.error();
    const auto named = fs::path(relative).filename().string();
    // What a config says of another part's weights is found in those weights, and named with them.
    const bool names_place =
        error.message.find(named) != std::string::npos ||
        error.message.find((fs::path(copy.folder()) / relative).parent_path().string()) != std::string::npos;
    if (!is_data_error(error.status) || !names_place) {
      outcome.problems.push_back(fmt::format("{}: status {}: {}", file, static_cast<int>(error.status), error.message));
    }
  }
  return outcome;
}

Outcome components(const Case& golden) {
  Outcome outcome;
  for (const auto& row : golden.params().at("folders")) {
    const auto folder = gf::join_path(root(), row.at("folder").get<std::string>());
    const auto expected = row.at("expected").get<std::string>();
    const auto opened = [&]() -> gf::Result<std::vector<std::string>> {
      const auto path = gf::join_path(folder, "config.json");
      GF_TRY(const auto text, host().read_text(path, 1 << 20));
      GF_TRY(const auto json, gf::parse_json(text, path));
      GF_TRY(const auto config, gf::torch::read_vae_config(*json, path));
      gf::torch::Vae vae(config, gf::torch::VaeParts::both);
      gf::torch::WeightList list;
      vae.declare(list);
      GF_TRY(auto reader, gf::torch::WeightReader::open(host(), folder, "diffusion_pytorch_model"));
      GF_TRYV(reader.check(list));
      gf::torch::LoadProgress progress{call()};
      GF_TRYV(reader.read(list, progress));
      const auto decoded = vae.decode(at::ones({1, config.latent_channels, 4, 4}));
      if (!decoded.isfinite().all().item<bool>()) return gf::Error{gf::Status::not_finite, folder + ": not finite", {}};
      return reader.unknown();
    }();
    const bool control = expected == "loads";
    if (control && !opened.has_value()) return Outcome::fail("the control does not load: " + opened.error().message);
    if (control) continue;
    if (opened.has_value()) {
      // Only what was left over may load, and then it is reported.
      const bool may_load = expected.starts_with("a warning") || expected.starts_with("as extra_key");
      if (!may_load || opened.value().empty()) outcome.problems.push_back(folder + " loads without a word");
      continue;
    }
    const auto& error = opened.error();
    const auto key = row.at("key").is_string() ? row.at("key").get<std::string>() : "";
    const bool names_key = key.empty() || key.find('*') != std::string::npos ||
                           error.status == gf::Status::not_finite || error.message.find(key) != std::string::npos;
    if (!is_data_error(error.status) || !names_key || error.message.find(folder) == std::string::npos) {
      outcome.problems.push_back(
          fmt::format("{}: status {}: {}", folder, static_cast<int>(error.status), error.message));
    }
  }
  return outcome;
}

Outcome files(const Case& golden) {
  Outcome outcome;
  for (const auto& row : golden.params().at("files")) {
    const auto path = gf::join_path(root(), row.at("file").get<std::string>());
    const auto expected = row.at("expected").get<std::string>();
    const auto opened = gf::Safetensors::open(path);
    if (opened.has_value()) {
      if (expected.find("loads") == std::string::npos) outcome.problems.push_back(path + " loads");
    } else if (expected == "loads") {
      outcome.problems.push_back("it should load: " + opened.error().message);
    } else if (!is_data_error(opened.error().status) || opened.error().message.find(path) == std::string::npos) {
      outcome.problems.push_back(
          fmt::format("status {}: {}", static_cast<int>(opened.error().status), opened.error().message));
    }
  }
  return outcome;
}

}  // namespace

Outcome run_malformed(const Case& golden) {
  const auto kind = golden.kind();
  if (kind == "malformed_config") return configs(golden);
  if (kind == "malformed_component") return components(golden);
  return files(golden);
}

}  // namespace golden
