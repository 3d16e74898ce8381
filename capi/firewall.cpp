#include "firewall.hpp"

#include "base/error_json.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <pthread.h>

namespace gf::capi {
namespace {

/// What a thread keeps of its last error. In the initial-exec model the storage comes with the thread: the first use
/// allocates nothing, so that it can report that there is no memory. A destructor would have to be registered, which
/// allocates and ends the process when it cannot; so `details` is freed by the key below.
struct LastError {
  gf_status status;
  const char* fixed_message;  // Static; used when details is NULL.
  Error* details;             // Owned; NULL when there was no memory for it.
};
thread_local LastError last __attribute__((tls_model("initial-exec"))) = {GF_OK, "", nullptr};

/// Frees a thread's details when it ends. The library stays mapped (-z nodelete), so the function is there even then.
void free_details(void* details) {
  delete static_cast<Error*>(details);
  last.details = nullptr;  // A destructor of the host that runs later may still ask.
  last.fixed_message = "";
}

/// Whether the thread's details will be freed at its end; if not, none may be kept.
bool freed_at_thread_end(Error* details) noexcept {
  static pthread_key_t key;
  static const bool made = pthread_key_create(&key, free_details) == 0;
  return made && pthread_setspecific(key, details) == 0;
}

const char* name_of(Status status) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return entry == nullptr ? "unknown" : entry->name.data();
}

std::string json_of(Status status, std::string_view message, std::span<const ErrorCause> causes) {
  JsonText out;
  write_error(out, status, message, causes);
  return std::move(out).str();
}

}  // namespace

gf_status fail(Error&& error) noexcept {
  // An error that says ok is our bug; the host must not take the call for done.
  const auto status = error.status == Status::ok ? Status::internal : error.status;
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  last.status = static_cast<gf_status>(status);
  last.fixed_message = entry == nullptr ? "an error of unknown status" : entry->name.data();
  try {
    // Made before the old one goes, and kept in place after: one allocation a thread, not one a failure.
    if (last.details == nullptr) {
      auto details = std::make_unique<Error>();
      if (!freed_at_thread_end(details.get())) return last.status;
      last.details = details.release();
    }
    *last.details = std::move(error);
    last.details->status = status;
  } catch (const std::bad_alloc&) {
    // Nothing was kept before this, so the fixed texts stand.
  }
  return last.status;
}

gf_status fail(Status status, const char* message) noexcept {
  try {
    return fail(Error{status, message, {}});
  } catch (const std::bad_alloc&) {
    if (last.details != nullptr) {
      last.details->status = status;
      last.details->message.clear();
      last.details->causes.clear();
    }
    last.status = static_cast<gf_status>(status);
    last.fixed_message = name_of(status);
    return last.status;
  }
}

gf_status last_status() noexcept { return last.status; }

const char* last_message() noexcept {
  if (last.details == nullptr || last.details->message.empty()) return last.fixed_message;
  return last.details->message.c_str();
}

std::string error_json(const Error& error) { return json_of(error.status, error.message, error.causes); }

std::string last_error_json() {
  const auto status = static_cast<Status>(last.status);
  if (last.details == nullptr) return json_of(status, last_message(), {});
  return json_of(status, last_message(), last.details->causes);
}

}  // namespace gf::capi
