#include "files.hpp"

#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <unistd.h>

namespace command {

namespace fs = std::filesystem;

std::vector<std::string> standard_model_folders() {
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  std::vector<std::string> folders;
  // Of an install, of the bundle (all in one folder), of a checkout's build folders.
  for (const char* relative : {"../share/gameforge/models", "models", "../models", "../../../models"}) {
    const auto folder = fs::weakly_canonical(program.parent_path() / relative, error);
    if (error || !fs::is_directory(folder, error)) continue;
    if (const auto text = folder.string(); std::find(folders.begin(), folders.end(), text) == folders.end()) {
      folders.push_back(text);
    }
  }
  return folders;
}

bool is_model_path(const std::string& model, const std::vector<std::string>& folders) {
  if (model.find('/') != std::string::npos || model == "." || model == "..") return true;
  std::error_code error;
  for (const auto& folder : folders) {
    if (fs::is_directory(fs::path(folder) / model, error)) return false;
  }
  return !model.empty() && fs::is_directory(model, error);
}

std::string picture_path(const std::string& out, const std::string& prompt, std::uint64_t seed, std::uint32_t index,
                         std::uint32_t count) {
  std::error_code error;
  const bool folder = out.empty() || out.back() == '/' || fs::is_directory(out, error);
  fs::path path(out);
  if (folder) {
    std::string name;
    for (const char c : prompt) {
      if (name.size() >= 60) break;
      const auto byte = static_cast<unsigned char>(c);
      if (std::isalnum(byte) != 0) {
        name += static_cast<char>(std::tolower(byte));
      } else if (!name.empty() && name.back() != '-') {
        name += '-';
      }
    }
    while (!name.empty() && name.back() == '-') name.pop_back();
    path /= fmt::format("{}-{}.png", name.empty() ? "asset" : name, seed);
  }
  if (count == 1) return path.string();
  return (path.parent_path() / fmt::format("{}_{}{}", path.stem().string(), index, path.extension().string())).string();
}

void check_writable(const std::string& path) {
  auto folder = fs::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw Failure{GF_ERR_NOT_FOUND, fmt::format("{}: there is no folder {}", path, folder)};
  if (fs::is_directory(path, error)) throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("{}: it is a folder", path)};
  if (::access(folder.c_str(), W_OK) != 0) {
    throw Failure{GF_ERR_UNAUTHORISED, fmt::format("{}: no file can be made in the folder {}", path, folder)};
  }
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << '\n';
  file.close();
  if (!file) throw Failure{GF_ERR_IO, fmt::format("{}: it could not be written", path)};
}

}  // namespace command
