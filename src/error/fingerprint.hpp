// What makes two errors the same: codes and places, never rendered text.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gf::error {

/// Of one of our own errors: the statuses and foreign codes of its chain from the innermost outwards, and the functions
/// where it arose and where it was wrapped last. No text, no line, no address: the same in every build by one compiler,
/// whatever the numbers and paths in its message. Allocates nothing. Never 0.
std::uint64_t fingerprint_of(const Error& error) noexcept;

/// An error that is told in plain values, as hosts do it. Borrowed for the call that takes it.
struct CodedError {
  Status status = Status::internal;
  std::string_view place;  ///< Where it arose, by a name that does not change from build to build.
  ForeignCode foreign{};
  std::string_view message;
  std::span<const Status> causes;      ///< From near to far.
  Severity severity = Severity::none;  ///< none: the status's.
};

/// Of such an error: as of our own, with the place in the functions' stead.
std::uint64_t fingerprint_of(const CodedError& error) noexcept;

/// The same with a place in words, of errors that come from elsewhere: of the chain only statuses and foreign codes
/// count.
std::uint64_t fingerprint_of(const Error& error, std::string_view place) noexcept;

/// Of a foreign text that has no code (a driver's, a database's): its template. Masked are numbers, ids (hex, UUIDs,
/// mixed letters and digits), what stands in quotes, paths and URLs; runs of space count as one. The first 4096 bytes
/// are looked at, in one pass. Allocates nothing. Never 0.
///
/// Source: masking before mining as in Drain3 (logpai/Drain3, masking.py); there is no mining behind it, since what
/// differs after masking is another error.
std::uint64_t fingerprint_of_text(std::string_view text) noexcept;

/// The same with whose text it is.
std::uint64_t fingerprint_of_foreign(std::string_view module, std::string_view text) noexcept;

/// The template itself, for people: `#` for numbers and ids, `"*"` for quoted, `<path>` for paths and URLs.
std::string template_of(std::string_view text);

/// A compiler's name of a function without its type and arguments: "gf::pipeline::ModelFolders::inspect". Points into
/// it.
std::string_view short_place(std::string_view function);

}  // namespace gf::error
