// What hiredis does where it finds itself in error, in a process that is not ours to end.
#pragma once

#include <stdexcept>

namespace gf::redis {

/// Thrown in place of an abort by the copy of hiredis that we link (cmake/hiredis_calls.txt). Its reader is only to be
/// freed then.
class ReaderGaveUp : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gf::redis
