#include "cache/host_source.hpp"

#include "base/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace gf::cache {
namespace {

/// A file of the kernel that is read anew from its beginning, again and again, through one descriptor.
class KernelFile {
 public:
  explicit KernelFile(const std::string& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  KernelFile(KernelFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  KernelFile& operator=(KernelFile&&) = delete;
  KernelFile(const KernelFile&) = delete;
  KernelFile& operator=(const KernelFile&) = delete;
  ~KernelFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  bool is_open() const { return descriptor_ >= 0; }

  /// Its beginning, as much as one read gives; nothing where it cannot be read. A second read would have the kernel
  /// make the whole text again to find the place, and all that is looked for stands in the first page.
  std::optional<std::string_view> text(std::span<char> room) const {
    for (;;) {
      const auto got = ::pread(descriptor_, room.data(), room.size(), 0);
      if (got >= 0) return std::string_view(room.data(), static_cast<std::size_t>(got));
      if (errno != EINTR) return std::nullopt;
    }
  }

 private:
  int descriptor_;
};

std::optional<std::uint64_t> number_at(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

/// The number behind a word that begins a line.
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return number_at(text.substr(at + word.size()));
  }
  return std::nullopt;
}

struct Group {
  KernelFile max;
  KernelFile current;
  KernelFile statistics;
};

/// The path of this process's group below the root, from the line of version 2 in /proc/self/cgroup.
std::string group_path(const std::string& proc) {
  const KernelFile file(proc + "/self/cgroup");
  std::array<char, 4096> room;
  if (!file.is_open()) return {};
  const auto text = file.text(room);
  if (!text) return {};
  const std::string_view mark = "0::/";
  auto at = text->find(mark);
  if (at == std::string_view::npos || (at != 0 && (*text)[at - 1] != '\n')) return {};
  at += mark.size();
  return std::string(text->substr(at, text->find('\n', at) - at));
}

}  // namespace

struct HostSource::Files {
  KernelFile meminfo;
  std::vector<Group> groups;
};

HostSource::HostSource(std::unique_ptr<Files> files) : files_(std::move(files)) {}
HostSource::~HostSource() = default;

Result<std::shared_ptr<HostSource>> HostSource::open(const std::string& proc, const std::string& cgroup) {
  const auto path = proc + "/meminfo";
  auto files = std::make_unique<Files>(Files{KernelFile(path), {}});
  if (!files->meminfo.is_open()) return system_error(errno, path);
  auto group = group_path(proc);
  // The root group has no memory.max, and within a container the root that is seen is the container's own group.
  for (;;) {
    const auto folder = group.empty() ? cgroup : join_path(cgroup, group);
    Group found{KernelFile(folder + "/memory.max"), KernelFile(folder + "/memory.current"),
                KernelFile(folder + "/memory.stat")};
    if (found.max.is_open() && found.current.is_open()) files->groups.push_back(std::move(found));
    if (group.empty()) break;
    const auto slash = group.rfind('/');
    group.resize(slash == std::string::npos ? 0 : slash);
  }
  std::shared_ptr<HostSource> source(new HostSource(std::move(files)));
  GF_TRYV(source->read(0));
  return source;
}

std::uint32_t HostSource::group_count() const { return static_cast<std::uint32_t>(files_->groups.size()); }

Result<DeviceMemory> HostSource::read(std::uint32_t index) const {
  if (index != 0) return Error{Status::invalid_argument, fmt::format("host {} of 1", index), {}};
  std::array<char, 8192> room;
  const auto meminfo = files_->meminfo.text(room);
  if (!meminfo) return system_error(errno, "meminfo");
  const auto total_kib = number_after(*meminfo, "MemTotal:");
  const auto free_kib = number_after(*meminfo, "MemAvailable:");
  if (!total_kib || !free_kib) {
    return Error{Status::unsupported_format, "meminfo has no MemTotal or no MemAvailable", {}};
  }
  DeviceMemory out{*total_kib * 1024, *free_kib * 1024, {}};
  for (const auto& group : files_->groups) {
    // A group may be gone meanwhile, or has "max" for no limit: neither limits anything.
    const auto max_text = group.max.text(room);
    const auto most = max_text ? number_at(*max_text) : std::nullopt;
    if (!most) continue;
    const auto current_text = group.current.text(room);
    const auto current = current_text ? number_at(*current_text) : std::nullopt;
    if (!current) continue;
    std::uint64_t clean = 0;
    if (group.statistics.is_open()) {
      const auto text = group.statistics.text(room);
      // Pages of files that were not used of late are given up before anything is refused.
      if (text) clean = number_after(*text, "inactive_file ").value_or(0);
    }
    const auto used = *current - std::min(clean, *current);
    out.total = std::min(out.total, *most);
    out.free = std::min(out.free, *most - std::min(used, *most));
  }
  return out;
}

}  // namespace gf::cache
