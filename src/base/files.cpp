#include "base/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gf {
namespace {

FileStamp stamp_of(const struct stat& status) {
  const auto in_ns = [](const struct timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  };
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .bytes = static_cast<std::uint64_t>(status.st_size),
          .modified_ns = in_ns(status.st_mtim),
          .changed_ns = in_ns(status.st_ctim)};
}

/// Closes on every way out.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

}  // namespace

Error system_error(int error_number, std::string_view what, std::source_location where) {
  char text[256];
  // The GNU form, which returns the text; strerror itself is not safe beside a host's threads.
  const char* words = strerror_r(error_number, text, sizeof text);
  auto status = Status::io_error;
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      status = Status::not_found;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      status = Status::unauthorised;
      break;
    case ENOSPC:
    case EDQUOT:
      status = Status::disk_full;
      break;
    case ENAMETOOLONG:
      status = Status::invalid_argument;
      break;
    case ENOMEM:
      status = Status::out_of_host_memory;
      break;
    default:
      break;
  }
  Error error{status, fmt::format("{}: {}", what, words), {}};
  error.foreign = {ForeignCode::Domain::system, error_number};
  error.where = where;
  return error;
}

Result<ReadFile> ReadFile::open(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return Error{Status::invalid_argument, "a path holds a NUL byte", {}};
  }
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever; on a regular file it means nothing.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (descriptor < 0) {
    // What open() answers for a socket, and for a device that is not there.
    if (errno == ENXIO)
      return Error{
          Status::unsupported_format, fmt::format("{}: it is a socket or device, not a regular file", path), {}};
    return system_error(errno, path);
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    auto error = system_error(errno, path);
    ::close(descriptor);
    return error;
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return Error{Status::unsupported_format,
                 fmt::format("{}: it is {}, not a regular file", path,
                             S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe"),
                 {}};
  }
  return ReadFile(path, descriptor, stamp_of(status));
}

ReadFile::ReadFile(ReadFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), stamp_(other.stamp_) {}

ReadFile& ReadFile::operator=(ReadFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(stamp_, other.stamp_);
  return *this;
}

ReadFile::~ReadFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> ReadFile::read_at(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto got = ::pread(descriptor_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, path_);
    }
    if (got == 0) {
      return Error{Status::corrupt_file,
                   fmt::format("{}: the file ends at byte {}, {} bytes before the end of what is read", path_,
                               offset + done, into.size() - done),
                   {}};
    }
    done += static_cast<std::size_t>(got);
  }
  return success();
}

Result<void> ReadFile::check_unchanged() const {
  struct stat opened {};
  if (::fstat(descriptor_, &opened) != 0) return system_error(errno, path_);
  struct stat named {};
  const bool gone = ::stat(path_.c_str(), &named) != 0;
  // A file that was unlinked or replaced keeps its bytes for us, but nobody can tell which of the two was wanted.
  const auto now = stamp_of(opened);
  if (!gone && now == stamp_ && stamp_of(named) == stamp_) return success();
  return Error{Status::corrupt_file,
               fmt::format("{}: the file was {} while it was read", path_,
                           gone ? "removed" : (now.bytes != stamp_.bytes ? "truncated or extended" : "changed")),
               {}};
}

Result<std::string> read_text(const std::string& path, std::uint64_t limit_bytes) {
  GF_TRY(const auto file, ReadFile::open(path));
  return read_text(file, limit_bytes);
}

Result<std::string> read_text(const ByteSource& file, std::uint64_t limit_bytes) {
  if (file.size() > limit_bytes) {
    return Error{
        Status::payload_too_large,
        fmt::format("{}: it has {} bytes; at most {} are expected here", file.path(), file.size(), limit_bytes),
        {}};
  }
  std::string text(file.size(), '\0');
  GF_TRYV(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<void> write_whole(const std::string& path, std::span<const std::byte> bytes) {
  if (path.find('\0') != std::string::npos) return Error{Status::invalid_argument, "a path holds a NUL byte", {}};
  // In the same folder, so that the renaming is one step; of a short name of its own, since `path` may have the
  // longest. Names differ between threads, and the process id tells processes apart, but for one on another machine
  // that shares the folder, or a dead one's leavings: a name that exists is passed over.
  static std::atomic<unsigned> counter{0};
  const auto folder = std::string_view(path).substr(0, path.rfind('/') + 1);
  std::string temporary;
  {
    Descriptor file;
    do {
      temporary = fmt::format("{}.gameforge-{}-{}.part", folder, ::getpid(), counter.fetch_add(1));
      file.value = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (file.value < 0 && errno == EEXIST);
    if (file.value < 0) return system_error(errno, path);
    std::size_t done = 0;
    int failed = 0;
    while (done < bytes.size() && failed == 0) {
      const auto put = ::write(file.value, bytes.data() + done, bytes.size() - done);
      if (put >= 0) {
        done += static_cast<std::size_t>(put);
      } else if (errno != EINTR) {
        failed = errno;
      }
    }
    if (failed == 0 && ::fsync(file.value) != 0) failed = errno;
    if (failed != 0) {
      ::unlink(temporary.c_str());
      return system_error(failed, path);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto error = system_error(errno, path);
    ::unlink(temporary.c_str());
    return error;
  }
  return success();
}

Result<void> write_whole(const std::string& path, std::string_view text) {
  return write_whole(path, std::as_bytes(std::span(text)));
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(folder.c_str()), ::closedir);
  if (!stream) return system_error(errno, folder);
  std::vector<std::string> out;
  for (;;) {
    errno = 0;
    const auto* entry = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): the stream is ours alone.
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  if (errno != 0) return system_error(errno, folder);
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<std::uint64_t> regular_file_bytes(const std::string& path) noexcept {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return static_cast<std::uint64_t>(status.st_size);
}

bool is_regular_file(const std::string& path) noexcept {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

bool is_directory(const std::string& path) noexcept {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty()) return std::string(name);
  return fmt::format("{}{}{}", folder, folder.back() == '/' ? "" : "/", name);
}

}  // namespace gf
