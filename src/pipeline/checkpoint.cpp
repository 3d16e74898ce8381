#include "pipeline/checkpoint.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"
#include "pipeline/checkpoint_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

namespace gf::pipeline {

namespace {

constexpr std::uint64_t largest_sidecar_bytes = 4 << 20;

/// Bytes of a checkpoint under another arrangement.
class Arranged final : public ByteSource {
 public:
  Arranged(std::string path, ReadFile file, std::shared_ptr<const Checkpoint::File> what)
      : path_(std::move(path)), file_(std::move(file)), what_(std::move(what)) {}

  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return what_->size; }
  const FileStamp& stamp() const { return file_.stamp(); }

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset) {
      return Error{Status::corrupt_file, fmt::format("{} ends before byte {}", path_, offset + into.size()), {}};
    }
    if (offset < what_->head.size()) {
      const auto count = std::min<std::size_t>(into.size(), what_->head.size() - offset);
      std::memcpy(into.data(), what_->head.data() + offset, count);
      into = into.subspan(count);
      offset += count;
    }
    // The last piece that begins at or before the place.
    auto piece = std::upper_bound(what_->pieces.begin(), what_->pieces.end(), offset,
                                  [](std::uint64_t at, const Checkpoint::Piece& one) { return at < one.start; });
    for (piece = piece == what_->pieces.begin() ? piece : piece - 1; !into.empty(); ++piece) {
      const auto inside = offset - piece->start;
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), piece->bytes - inside));
      if (count == 0) continue;
      if (!piece->memory.empty()) {
        std::memcpy(into.data(), piece->memory.data() + inside, count);
      } else {
        GF_TRYV(file_.read_at(piece->offset + inside, into.first(count)));
      }
      into = into.subspan(count);
      offset += count;
    }
    return success();
  }
  Result<void> check_unchanged() const override { return file_.check_unchanged(); }

 private:
  std::string path_;
  ReadFile file_;
  std::shared_ptr<const Checkpoint::File> what_;
};

/// FILE.gameforge.json of FILE.safetensors.
std::string sidecar_of(const std::string& path) {
  return path.substr(0, path.size() - checkpoint_suffix.size()) + ".gameforge.json";
}

/// The checkpoint that `path` lies in, and the rest behind it; nothing for any other path.
std::optional<std::pair<std::string, std::string>> split(const std::string& path) {
  for (auto at = path.find(checkpoint_suffix); at != std::string::npos; at = path.find(checkpoint_suffix, at + 1)) {
    const auto end = at + checkpoint_suffix.size();
    if (end >= path.size() || path[end] != '/') continue;
    auto outer = path.substr(0, end);
    if (is_regular_file(outer)) return std::pair(std::move(outer), path.substr(end + 1));
  }
  return std::nullopt;
}

FileStamp stamp_of(const std::string& path) {
  const auto file = ReadFile::open(path);
  return file ? file.value().stamp() : FileStamp{};
}

/// The last checkpoints that were recognised: a load opens a dozen files of one.
class Recent {
 public:
  Result<std::shared_ptr<const Checkpoint>> get(const std::string& path) {
    const auto stamp = stamp_of(path);
    const auto beside = stamp_of(sidecar_of(path));
    {
      const std::lock_guard lock(mutex_);
      for (const auto& entry : entries_) {
        if (entry.checkpoint && entry.checkpoint->path() == path && entry.checkpoint->stamp() == stamp &&
            entry.beside == beside) {
          return entry.checkpoint;
        }
      }
    }
    GF_TRY(auto opened, Checkpoint::open(path));
    const std::lock_guard lock(mutex_);
    entries_[next_ % entries_.size()] = {opened, beside};
    ++next_;
    return opened;
  }

 private:
  struct Entry {
    std::shared_ptr<const Checkpoint> checkpoint;
    FileStamp beside;
  };
  std::mutex mutex_;
  std::array<Entry, 4> entries_;
  std::size_t next_ = 0;
};

Recent& recent() {
  static auto& cache = *new Recent;  // Never destroyed: a host's thread may load while the process ends.
  return cache;
}

}  // namespace

bool is_checkpoint_file(const std::string& path) noexcept {
  return path.ends_with(checkpoint_suffix) && is_regular_file(path);
}

Result<std::shared_ptr<const Checkpoint>> Checkpoint::open(const std::string& path) {
  if (!path.ends_with(checkpoint_suffix)) {
    return Error{
        Status::unsupported_format, fmt::format("{}: a checkpoint's name ends in {}", path, checkpoint_suffix), {}};
  }
  GF_TRY(auto opened, ReadFile::open(path));
  const auto stamp = opened.stamp();
  GF_TRY(const auto file, Safetensors::open(std::make_unique<ReadFile>(std::move(opened))));
  std::optional<JsonDocument> sidecar;
  auto own = read_text(sidecar_of(path), largest_sidecar_bytes);
  if (own) {
    GF_TRY(auto parsed, parse_json(own.value(), sidecar_of(path)));
    if (!parsed->is_object()) {
      return Error{Status::corrupt_file, fmt::format("{}: it is not a JSON object", sidecar_of(path)), {}};
    }
    sidecar.emplace(std::move(parsed));
  } else if (own.error().status != Status::not_found) {
    return std::move(own).as_failure();
  }
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->path_ = path;
  checkpoint->stamp_ = stamp;
  GF_TRY(checkpoint->files_, read_checkpoint(file, sidecar ? &**sidecar : nullptr));
  GF_TRYV(file.file().check_unchanged());
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

std::vector<std::string> Checkpoint::files() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : files_) names.push_back(name);
  return names;
}

std::vector<std::pair<std::string, std::uint64_t>> Checkpoint::sizes() const {
  std::vector<std::pair<std::string, std::uint64_t>> out;
  for (const auto& [name, file] : files_) out.emplace_back(name, file->size);
  return out;
}

Result<std::unique_ptr<ByteSource>> Checkpoint::open_file(std::string_view inner) const {
  const auto found = files_.find(inner);
  if (found == files_.end()) {
    return Error{Status::not_found, fmt::format("{} stands for no file {}", path_, shown(inner)), {}};
  }
  GF_TRY(auto file, ReadFile::open(path_));
  if (file.stamp() != stamp_)
    return Error{Status::corrupt_file, fmt::format("{} changed while it was read", path_), {}};
  return std::unique_ptr<ByteSource>(
      std::make_unique<Arranged>(fmt::format("{}/{}", path_, inner), std::move(file), found->second));
}

FileStamp stamp_of_model_file(const std::string& path) {
  const auto parts = split(path);
  if (!parts) return stamp_of(path);
  return stamp_of(parts->second == "gameforge.json" ? sidecar_of(parts->first) : parts->first);
}

std::vector<std::pair<std::string, std::uint64_t>> files_in_model(const std::string& folder) {
  std::vector<std::pair<std::string, std::uint64_t>> found;
  if (const auto parts = split(folder + "/")) {
    const auto checkpoint = recent().get(parts->first);
    if (!checkpoint) return found;
    for (const auto& [name, bytes] : checkpoint.value()->sizes()) {
      if (!name.starts_with(parts->second)) continue;
      const auto rest = name.substr(parts->second.size());
      if (rest.find('/') == std::string::npos) found.emplace_back(rest, bytes);
    }
    return found;
  }
  const auto names = names_in(folder);
  if (!names) return found;
  for (const auto& name : names.value()) {
    if (const auto bytes = regular_file_bytes(join_path(folder, name))) found.emplace_back(name, *bytes);
  }
  return found;
}

Result<std::unique_ptr<ByteSource>> open_model_file(const std::string& path, FileStamp& stamp) {
  const auto parts = split(path);
  if (parts && parts->second != "gameforge.json") {
    GF_TRY(const auto checkpoint, recent().get(parts->first));
    GF_TRY(auto source, checkpoint->open_file(parts->second));
    stamp = static_cast<const Arranged&>(*source).stamp();
    return source;
  }
  GF_TRY(auto file, ReadFile::open(parts ? sidecar_of(parts->first) : path));
  stamp = file.stamp();
  return std::unique_ptr<ByteSource>(std::make_unique<ReadFile>(std::move(file)));
}

}  // namespace gf::pipeline
