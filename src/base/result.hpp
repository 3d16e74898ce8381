// base: what every room stands on (result, status, clock, ids, JSON, files, hashing, log interface); no policy lives
// here. This header: how every fallible function answers, a value, or an Error that says what to do next.
#pragma once

#include "base/status.hpp"

#include <boost/outcome.hpp>

#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gf {

/// A number of somebody else's that says more than our status: it is part of what tells two errors apart.
struct ForeignCode {
  enum class Domain : std::uint32_t { none = 0, system = 1, sqlstate = 2, sqlite = 3, cuda = 4, http = 5, redis = 6 };
  Domain domain = Domain::none;
  std::int64_t number = 0;

  bool operator==(const ForeignCode&) const = default;
};

/// SQLSTATE's five characters as a number, since that is what it is compared as.
constexpr ForeignCode sqlstate_code(std::string_view state) {
  std::int64_t number = 0;
  for (const char c : state.substr(0, 5)) number = number * 256 + static_cast<unsigned char>(c);
  return {ForeignCode::Domain::sqlstate, number};
}

/// One link of an Error's chain: what a lower layer said.
struct ErrorCause {
  Status status = Status::internal;
  std::string message;
  ForeignCode foreign{};
  std::source_location where = std::source_location::current();
};

/// A value that belongs to an error, kept apart from its text so that nobody has to parse that.
struct ErrorField {
  std::string key;
  std::string value;
};

/// A failure on its way to the host. Nothing is rendered before somebody asks.
struct Error {
  Status status = Status::internal;
  std::string message;  ///< One English sentence that names the offending value; shown to people, never parsed.
  std::vector<ErrorCause> causes{};  ///< From near to far; empty when the message says it all.
  std::vector<ErrorField> context{};
  ForeignCode foreign{};
  std::int64_t retry_after_us = 0;  ///< What the refusing side asked for; 0: nothing.
  /// Where it was made: a part of its fingerprint by the function's name, never by the line.
  std::source_location where = std::source_location::current();

  Error&& with(std::string key, std::string value) && {
    context.push_back({std::move(key), std::move(value)});
    return std::move(*this);
  }
};

/// The same failure seen from one layer up, which knows what the layer below does not (which file, which job).
inline Error wrap(Error cause, Status status, std::string message,
                  std::source_location where = std::source_location::current()) {
  Error outer{status, std::move(message), {}, std::move(cause.context), {}, cause.retry_after_us, where};
  outer.causes.reserve(cause.causes.size() + 1);
  outer.causes.push_back({cause.status, std::move(cause.message), cause.foreign, cause.where});
  for (auto& link : cause.causes) outer.causes.push_back(std::move(link));
  return outer;
}

/// A value or an Error. Reading the side that is not there is our bug, so it throws and ends at the firewall in capi/
/// as Status::internal: a guest neither ends its host's process nor runs on with undefined behaviour.
template <class T>
using Result = BOOST_OUTCOME_V2_NAMESPACE::checked<T, Error>;

inline Result<void> success() { return BOOST_OUTCOME_V2_NAMESPACE::success(); }

}  // namespace gf

/// GF_TRY(auto v, expr): evaluates `expr` once, declares `v` from its value, or returns its error from this function.
/// GF_TRYV(expr): the same where there is no value to keep.
/// They replace BOOST_OUTCOME_TRY, which in Boost 1.74 writes `auto &&` itself, so that the `auto v` of later versions
/// does not compile. Both expand to several statements: inside an `if` or a loop, put braces around them.
#define GF_TRY(declaration, ...) GF_DETAIL_TRY(GF_DETAIL_UNIQUE(gf_try_), declaration, __VA_ARGS__)
#define GF_TRYV(...) GF_DETAIL_TRYV(GF_DETAIL_UNIQUE(gf_try_), __VA_ARGS__)

#define GF_DETAIL_TRYV(result, ...) \
  auto result = (__VA_ARGS__);      \
  if (!result) [[unlikely]]         \
  return std::move(result).as_failure()
#define GF_DETAIL_TRY(result, declaration, ...) \
  GF_DETAIL_TRYV(result, __VA_ARGS__);          \
  declaration = std::move(result).assume_value()
#define GF_DETAIL_UNIQUE(prefix) GF_DETAIL_JOIN(prefix, __COUNTER__)
#define GF_DETAIL_JOIN(a, b) GF_DETAIL_JOIN_EXPANDED(a, b)
#define GF_DETAIL_JOIN_EXPANDED(a, b) a##b
