// base: what every room stands on (result, status, clock, ids, JSON, files, hashing, log interface); no policy lives
// here. This header: how every fallible function answers, a value, or an Error that says what to do next.
#pragma once

#include "base/status.hpp"

#include <boost/outcome.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gf {

/// One link of an Error's chain: what a lower layer said.
struct ErrorCause {
  Status status = Status::internal;
  std::string message;
};

/// A failure on its way to the host.
struct Error {
  Status status = Status::internal;
  std::string message;  ///< One English sentence that names the offending value; shown to people, never parsed.
  std::vector<ErrorCause> causes;  ///< From near to far; empty when the message says it all.
};

/// The same failure seen from one layer up, which knows what the layer below does not (which file, which job).
inline Error wrap(Error cause, Status status, std::string message) {
  Error outer{status, std::move(message), {}};
  outer.causes.reserve(cause.causes.size() + 1);
  outer.causes.push_back({cause.status, std::move(cause.message)});
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
