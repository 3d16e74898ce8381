// The firewall around every entry point: no exception leaves it, and a failure becomes a status and the thread's last
// error.
#pragma once

#include "base/platform.hpp"
#include "base/result.hpp"
#include "gameforge/gameforge.h"

#include <exception>
#include <new>
#include <string>
#include <utility>

namespace gf::capi {

/// Keeps `error` as the last of this thread and gives its status. When there is no memory to keep it, the status and
/// its fixed texts are all that is kept.
gf_status fail(Error&& error) noexcept;

/// The same for what has no text of its own.
gf_status fail(Status status, const char* message) noexcept;

/// What the thread's last error was; the texts are valid until the next failure on this thread.
gf_status last_status() noexcept;
const char* last_message() noexcept;
/// As the object that gf_last_error_json documents. Throws bad_alloc.
std::string last_error_json();
/// The same object for any error: what gf_job_error_json gives.
std::string error_json(const Error& error);

/// Runs `body`, a callable that returns Result<void>, in the default floating-point environment: the host's rounding
/// mode and flush-to-zero would change numbers that we read, write and compute, and are put back afterwards.
template <class Body>
gf_status firewall(Body&& body) noexcept {
  const DefaultFloatingPoint plain;
  try {
    Result<void> result = std::forward<Body>(body)();
    if (result.has_value()) return GF_OK;
    return fail(std::move(result).error());
  } catch (const std::bad_alloc&) {
    return fail(Status::out_of_host_memory, "out of host memory");
  } catch (const std::exception& e) {
    return fail(Status::internal, e.what());
  } catch (...) {
    return fail(Status::internal, "an exception of unknown type was caught");
  }
}

}  // namespace gf::capi
