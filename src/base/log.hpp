// The log interface that every room writes to; who listens is decided above (error/ formats, the engine routes).
#pragma once

#include <cstdint>
#include <string_view>

namespace gf {

/// Values cross the ABI as gf_log_level; `off` disables.
enum class LogLevel : std::uint32_t { off = 0, error = 1, warning = 2, info = 3, debug = 4 };

/// Receives log lines. Threads: any, several at a time. It never throws, never blocks on a host, never logs itself.
class LogSink {
 public:
  virtual ~LogSink() = default;
  /// Cheap; callers ask before they format.
  virtual bool enabled(LogLevel level) const noexcept = 0;
  /// `module` is a static name such as "torch"; `message` is UTF-8 and borrowed for the call.
  virtual void write(LogLevel level, std::string_view module, std::string_view message) noexcept = 0;
};

}  // namespace gf
