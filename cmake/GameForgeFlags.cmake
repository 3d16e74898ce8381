# Compiler flags as interface targets, so that nothing global but the standard is set.

add_library(gf_warnings INTERFACE)
add_library(gf::warnings ALIAS gf_warnings)
# -Wnon-virtual-dtor is for C++ alone. -Wrestrict of GCC 12 warns of std::string's own code (GCC bug 105651).
target_compile_options(gf_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<BOOL:${GAMEFORGE_WERROR}>:-Werror>)

# Sanitizers must be in every object of a program, our static rooms and tests alike: the one flag that is global.
if(GAMEFORGE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(GAMEFORGE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(GAMEFORGE_SANITIZE)
  message(FATAL_ERROR "GAMEFORGE_SANITIZE is ${GAMEFORGE_SANITIZE}; it must be address, thread or empty")
endif()

find_program(GAMEFORGE_CCACHE ccache)
if(GAMEFORGE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # pch_defines,time_macros: ccache accepts precompiled headers only with these (ccache manual, "Precompiled headers").
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${GAMEFORGE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()
