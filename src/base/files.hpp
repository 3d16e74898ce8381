// Files: reading by position, with what identifies a file's state, and writing that is whole or not at all.
#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf {

/// What tells whether a file is still the one that was opened. Two equal stamps do not prove equal bytes, but every
/// editor, copy and download changes one of these.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
  std::int64_t modified_ns = 0;  ///< Nanoseconds since the epoch.
  std::int64_t changed_ns = 0;   ///< Change of the inode: also moves when mtime was set back by hand.

  bool operator==(const FileStamp&) const = default;
};

/// Bytes that are read by position. A file of ours, or one that the other side of the backend seam reads for us.
/// Threads: any, several at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// How messages name it.
  virtual const std::string& path() const = 0;
  /// As it was when it was opened.
  virtual std::uint64_t size() const = 0;
  /// Fills the whole of `into` from `offset`.
  /// Errors: corrupt_file when the bytes end before that; io_error.
  virtual Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) const = 0;
  /// Errors: corrupt_file when the file, or what its path names now, is not what was opened.
  virtual Result<void> check_unchanged() const = 0;
};

/// A regular file open for reading by position; no cursor is kept. Threads: any, several at a time.
class ReadFile final : public ByteSource {
 public:
  /// Opens without following anything that could block: a pipe, socket or device is refused.
  /// Errors: not_found, unauthorised (permission), unsupported_format (not a regular file), io_error; each names the
  /// path.
  static Result<ReadFile> open(const std::string& path);

  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&& other) noexcept;
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;
  ~ReadFile() override;

  const std::string& path() const override { return path_; }
  /// As the file was when it was opened.
  const FileStamp& stamp() const { return stamp_; }
  std::uint64_t size() const override { return stamp_.bytes; }
  Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) const override;
  Result<void> check_unchanged() const override;

 private:
  ReadFile(std::string path, int descriptor, const FileStamp& stamp)
      : path_(std::move(path)), descriptor_(descriptor), stamp_(stamp) {}

  std::string path_;
  int descriptor_ = -1;
  FileStamp stamp_;
};

/// The whole of a text file of at most `limit_bytes`.
/// Errors: those of ReadFile; payload_too_large when it is longer.
Result<std::string> read_text(const std::string& path, std::uint64_t limit_bytes);
Result<std::string> read_text(const ByteSource& source, std::uint64_t limit_bytes);

/// Writes `bytes` under a temporary name beside `path`, then renames it: readers see the old file or the new one.
/// Errors: not_found (no such folder), unauthorised, disk_full, io_error. The old file is then as it was.
Result<void> write_whole(const std::string& path, std::span<const std::byte> bytes);
Result<void> write_whole(const std::string& path, std::string_view text);

/// The names in a folder, sorted by bytes, without "." and "..". std::filesystem's iterators end the process where
/// memory runs out (libstdc++ 12); this throws bad_alloc. Errors: not_found, unauthorised, io_error; each names the
/// path.
Result<std::vector<std::string>> names_in(const std::string& folder);

/// The size of a regular file, links followed; nothing where there is none.
std::optional<std::uint64_t> regular_file_bytes(const std::string& path) noexcept;
bool is_regular_file(const std::string& path) noexcept;
bool is_directory(const std::string& path) noexcept;

/// `folder` and `name` with one slash between.
std::string join_path(std::string_view folder, std::string_view name);

/// The error that errno stands for, with `what` (a path, and what was tried) before the system's words, and errno as
/// its foreign code.
Error system_error(int error_number, std::string_view what,
                   std::source_location where = std::source_location::current());

}  // namespace gf
