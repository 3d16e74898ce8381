#include "error/log_output.hpp"

#include "base/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gf::error {
namespace {

constexpr std::size_t write_at = 64u << 10;  // Bytes after which pending lines are written though more may follow.

/// Writes all of `text`, and takes out of it what was written, whole lines where it stops. A SIGPIPE that comes of it
/// is taken back.
Result<void> write_out(int descriptor, std::string& text, std::string_view name) {
  std::size_t done = 0;
  Result<void> out = success();
  while (done < text.size()) {
    const auto wrote = ::write(descriptor, text.data() + done, text.size() - done);
    if (wrote > 0) {
      done += static_cast<std::size_t>(wrote);
      continue;
    }
    const int error = wrote < 0 ? errno : EIO;
    if (error == EINTR) continue;
    if (error == EPIPE) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      const timespec now{};
      sigtimedwait(&pipe, nullptr, &now);
    }
    out = system_error(error, name);
    break;
  }
  text.erase(0, done);
  return out;
}

}  // namespace

Result<void> CallbackOutput::write(const LogRecord& record) {
  struct Back {
    std::atomic<State>& state;
    ~Back() {
      auto calling = State::calling;
      state.compare_exchange_strong(calling, State::idle);
    }
  };
  auto idle = State::idle;
  if (!state_.compare_exchange_strong(idle, State::calling)) return success();
  const Back back{state_};
  callback_(record);
  return success();
}

Result<void> PollOutput::write(const LogRecord& record) {
  Line line{record.level, record.unix_us, {}, {}, record.dropped, record.repeated};
  append_shown(line.module, record.module);
  append(line.message, record, format_);
  if (line.message.ends_with('\n')) line.message.pop_back();
  const std::lock_guard lock(mutex_);
  if (lines_.size() >= capacity_) {
    overrun_ += 1 + lines_.front().dropped;
    lines_.pop_front();
  }
  lines_.push_back(std::move(line));
  return success();
}

bool PollOutput::poll(const std::function<bool(const Line&)>& take) {
  const std::lock_guard lock(mutex_);
  if (lines_.empty()) return false;
  lines_.front().dropped += overrun_;
  overrun_ = 0;
  if (take(lines_.front())) lines_.pop_front();
  return true;
}

Result<void> DescriptorOutput::write(const LogRecord& record) {
  append(pending_, record, format_);
  return pending_.size() >= write_at ? flush() : success();
}

Result<void> DescriptorOutput::flush() {
  auto out = write_out(descriptor_, pending_, fmt::format("descriptor {}", descriptor_));
  pending_.clear();  // What a broken descriptor did not take is lost, and counted by the logger as a failure.
  return out;
}

FileOutput::FileOutput(const FileOutputOptions& options) : options_(options) {
  const auto slash = options.path.rfind('/');
  folder_ = slash == std::string::npos ? "." : options.path.substr(0, std::max<std::size_t>(slash, 1));
  const auto name = slash == std::string::npos ? options.path : options.path.substr(slash + 1);
  const auto dot = name.rfind('.');
  stem_ = dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
  ending_ = name.substr(stem_.size());
}

Result<std::unique_ptr<FileOutput>> FileOutput::open(const FileOutputOptions& options) {
  if (options.path.empty() || options.path.ends_with('/')) {
    return Error{Status::invalid_argument, fmt::format("path is \"{}\"; it must name a file", options.path), {}};
  }
  if (options.max_bytes < 1024) {
    return Error{
        Status::invalid_argument, fmt::format("max_bytes is {}; it must be at least 1024", options.max_bytes), {}};
  }
  if (options.kept_files > 999) {
    return Error{
        Status::invalid_argument, fmt::format("kept_files is {}; it must be 0 to 999", options.kept_files), {}};
  }
  auto out = std::unique_ptr<FileOutput>(new FileOutput(options));
  GF_TRY(const auto descriptor, out->open_new(options.path));
  out->adopt(descriptor);
  out->remove_beyond();
  return out;
}

FileOutput::~FileOutput() {
  (void)flush();
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string FileOutput::older(std::uint32_t number) const {
  return join_path(folder_, fmt::format("{}.{}{}", stem_, number, ending_));
}

Result<int> FileOutput::open_new(const std::string& path) const {
  for (int attempt = 0;; ++attempt) {
    // Not to wait for the reader of a pipe that lies there; what is no file is refused below.
    const int descriptor =
        ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (descriptor >= 0) {
      struct stat there {};
      if (fstat(descriptor, &there) == 0 && S_ISREG(there.st_mode)) return descriptor;
      ::close(descriptor);
      return Error{Status::unsupported_format, fmt::format("{}: not a regular file", path), {}};
    }
    const int error = errno;
    if (error != ENOENT || attempt > 0) return system_error(error, path);
    for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      const auto folder = path.substr(0, at);
      if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return system_error(errno, folder);
    }
  }
}

void FileOutput::adopt(int descriptor) {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = descriptor;
  struct stat there {};
  if (fstat(descriptor, &there) != 0) return;
  device_ = there.st_dev;
  inode_ = there.st_ino;
  written_ = static_cast<std::uint64_t>(std::max<off_t>(there.st_size, 0));
  retry_at_ = 0;
}

Result<void> FileOutput::write(const LogRecord& record) {
  const auto before = pending_.size();
  append(pending_, record, options_.format);
  if (written_ + pending_.size() > options_.max_bytes && written_ + before > 0 &&
      written_ + pending_.size() >= retry_at_) {
    auto last = pending_.substr(before);
    pending_.resize(before);
    auto flushed = flush();
    rotate();
    pending_ += last;
    if (!flushed) return flushed;
  }
  return pending_.size() >= write_at ? flush() : success();
}

Result<void> FileOutput::flush() {
  if (pending_.empty()) return success();
  const auto before = pending_.size();
  auto out = write_out(descriptor_, pending_, options_.path);
  written_ += before - pending_.size();
  // A full disk must not become a full memory: the newest lines stay for the next try.
  if (pending_.size() > 4 * write_at) pending_.erase(0, pending_.find('\n', pending_.size() - write_at) + 1);
  return out;
}

void FileOutput::rotate() {
  const auto fresh = join_path(folder_, fmt::format("{}.new{}", stem_, ending_));
  auto opened = open_new(fresh);
  // Only a file that takes a byte is worth renaming others for: a full disk opens files and fills none.
  if (opened && posix_fallocate(opened.value(), 0, 4096) != 0) {
    ::close(opened.value());
    unlink(fresh.c_str());
    opened = Error{Status::disk_full, fresh, {}};
  }
  if (!opened) {
    ++failed_rotations_;
    retry_at_ = written_ + pending_.size() + options_.max_bytes / 8 + 1;
    return;
  }
  (void)ftruncate(opened.value(), 0);
  if (options_.kept_files == 0) {
    unlink(options_.path.c_str());
  } else {
    for (auto number = options_.kept_files; number > 1; --number) {
      (void)rename(older(number - 1).c_str(), older(number).c_str());
    }
    (void)rename(options_.path.c_str(), older(1).c_str());
  }
  if (rename(fresh.c_str(), options_.path.c_str()) != 0) ++failed_rotations_;
  adopt(opened.value());
}

void FileOutput::remove_beyond() {
  const auto names = names_in(folder_);
  if (!names) return;
  for (const std::string_view name : names.value()) {
    if (!name.starts_with(stem_ + ".") || !name.ends_with(ending_)) continue;
    if (name.size() < stem_.size() + 1 + ending_.size()) continue;
    const auto number_text = name.substr(stem_.size() + 1, name.size() - stem_.size() - 1 - ending_.size());
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(number_text.data(), number_text.data() + number_text.size(), number);
    if (error != std::errc() || end != number_text.data() + number_text.size() || number <= options_.kept_files)
      continue;
    unlink(join_path(folder_, name).c_str());
  }
}

void FileOutput::look_around(std::int64_t) {
  struct stat there {};
  const bool same = stat(options_.path.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_;
  if (same) return;
  const auto opened = open_new(options_.path);
  if (opened) adopt(opened.value());
}

}  // namespace gf::error
