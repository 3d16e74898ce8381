// What the library is: for gf_version_json and the doctor's report.
#pragma once

#include <string>

namespace gf::capi {

/// The object that gf_version_json gives. Throws bad_alloc.
std::string version_json();

}  // namespace gf::capi
