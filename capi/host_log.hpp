// Log lines of parts that have no engine, to the host's function.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "gameforge/gameforge.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gf::capi {

/// What a part without an engine has to tell, given to the host on the thread that found it.
class HostLog final : public LogSink {
 public:
  HostLog(gf_log_callback call, void* user_data, LogLevel level) : call_(call), user_data_(user_data), level_(level) {}

  bool enabled(LogLevel level) const noexcept override {
    return call_ != nullptr && level != LogLevel::off && level <= level_;
  }
  void write(LogLevel level, std::string_view module, std::string_view message) noexcept override {
    if (!enabled(level)) return;
    try {
      gf_log_record record = GF_LOG_RECORD_INIT;
      record.level = static_cast<std::uint32_t>(level);
      record.unix_us = system_clock().unix_us();
      call_(user_data_, &record, std::string(module).c_str(), std::string(message).c_str());
    } catch (...) {  // No memory for the copies: the line is lost, and the work goes on.
    }
  }

 private:
  const gf_log_callback call_;
  void* const user_data_;
  const LogLevel level_;
};

}  // namespace gf::capi
