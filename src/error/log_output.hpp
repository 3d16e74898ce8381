// Where log lines go: a host's function, a ring to poll, a descriptor, a file that rotates.
#pragma once

#include "error/log_record.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace gf::error {

/// Receives records on the logger's one back-end thread, in order. It may block: that holds up the other outputs, fills
/// the callers' rings and is counted, but no call waits for it longer than its bound. What it throws is caught.
class LogOutput {
 public:
  virtual ~LogOutput() = default;
  virtual Result<void> write(const LogRecord& record) = 0;
  /// Everything written before is where others can see it.
  virtual Result<void> flush() { return success(); }
  /// A chance to look after itself, at most once a second while lines come.
  virtual void look_around(std::int64_t now_us) { (void)now_us; }
};

/// Calls a function of the host's. Threads: any for mute(), besides the logger's.
class CallbackOutput final : public LogOutput {
 public:
  explicit CallbackOutput(std::function<void(const LogRecord&)> callback) : callback_(std::move(callback)) {}
  Result<void> write(const LogRecord& record) override;
  /// No call begins once this has returned, so that the host may free what the function uses as soon as it is not in
  /// it; waits for nothing.
  void mute() noexcept { state_.store(State::muted, std::memory_order_seq_cst); }

 private:
  enum class State : std::uint32_t { idle, calling, muted };
  std::function<void(const LogRecord&)> callback_;
  std::atomic<State> state_{State::idle};
};

/// Keeps lines until somebody polls; when it is full the oldest go, and the next one polled tells how many.
/// Threads: any for poll(), besides the logger's.
class PollOutput final : public LogOutput {
 public:
  explicit PollOutput(std::size_t capacity = 1024, LogFormat format = LogFormat::plain)
      : capacity_(capacity > 0 ? capacity : 1), format_(format) {}

  struct Line {
    LogLevel level = LogLevel::info;
    std::int64_t unix_us = 0;
    std::string module;
    std::string message;  ///< In the output's format, without a newline.
    std::uint64_t dropped = 0;
    std::uint64_t repeated = 0;
  };
  Result<void> write(const LogRecord& record) override;
  LogFormat format() const { return format_; }
  /// Shows the next line to `take`, which answers whether it was taken; else it stays. False: there is none.
  bool poll(const std::function<bool(const Line&)>& take);

 private:
  const std::size_t capacity_;
  const LogFormat format_;
  std::mutex mutex_;
  std::deque<Line> lines_;     // Guarded by mutex_.
  std::uint64_t overrun_ = 0;  // Guarded by mutex_.
};

/// Writes to a descriptor that the caller keeps open, such as 2 for stderr. SIGPIPE cannot come: the logger's thread
/// blocks every signal, and the one that a broken pipe raises for that thread is taken back.
class DescriptorOutput final : public LogOutput {
 public:
  DescriptorOutput(int descriptor, LogFormat format) : descriptor_(descriptor), format_(format) {}
  Result<void> write(const LogRecord& record) override;
  Result<void> flush() override;

 private:
  const int descriptor_;
  const LogFormat format_;
  std::string pending_;
};

struct FileOutputOptions {
  std::string path;  ///< "logs/gameforge.log"; older ones are gameforge.1.log and so on.
  LogFormat format = LogFormat::text;
  std::uint64_t max_bytes = 16u << 20;  ///< Rotates before it would grow past this; at least 1024.
  std::uint32_t kept_files = 5;         ///< Older files that are kept; 0 to 999.
};

/// A file that is begun anew when it is full. The new one is opened before anything is renamed, so a full disk leaves
/// the old one in use. Folders are created; a file that was deleted or moved away is made again within a second; older
/// files beyond the limit, also of runs before, are removed. Not synchronised; the logger's.
class FileOutput final : public LogOutput {
 public:
  /// Errors: invalid_argument names the option; those of opening a file.
  static Result<std::unique_ptr<FileOutput>> open(const FileOutputOptions& options);
  ~FileOutput() override;

  Result<void> write(const LogRecord& record) override;
  Result<void> flush() override;
  void look_around(std::int64_t now_us) override;
  std::uint64_t failed_rotations() const { return failed_rotations_; }

 private:
  explicit FileOutput(const FileOutputOptions& options);
  std::string older(std::uint32_t number) const;
  Result<int> open_new(const std::string& path) const;
  void adopt(int descriptor);
  void rotate();
  void remove_beyond();

  const FileOutputOptions options_;
  std::string folder_;
  std::string stem_;
  std::string ending_;
  int descriptor_ = -1;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t retry_at_ = 0;  // After a rotation that failed: the size at which the next is tried.
  std::uint64_t failed_rotations_ = 0;
  std::string pending_;
};

}  // namespace gf::error
