# What `cmake --install` puts where: the package (headers, libraries, CMake and pkg-config files, the command, the model),
# and the component `bundle`, one flat folder that can be copied anywhere.
include(CMakePackageConfigHelpers)

# ---- The package ----------------------------------------------------------------------------------------------------

install(TARGETS gameforge EXPORT GameForgeTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/gameforge DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT GameForgeTargets NAMESPACE GameForge:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/GameForge)
configure_package_config_file(cmake/GameForgeConfig.cmake.in GameForgeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/GameForge
  PATH_VARS CMAKE_INSTALL_DATADIR)
# Before 1.0 a minor version may break what hosts were compiled against.
write_basic_package_version_file(GameForgeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/GameForgeConfig.cmake ${PROJECT_BINARY_DIR}/GameForgeConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/GameForge)

# From the .pc file up to the prefix, so that the installed tree can be moved.
file(RELATIVE_PATH GAMEFORGE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" GAMEFORGE_PC_PREFIX "${GAMEFORGE_PC_PREFIX}")
configure_file(cmake/gameforge.pc.in gameforge.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gameforge.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gameforge/models)
if(TARGET gameforge_command)
  install(TARGETS gameforge_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# libtorch and what it needs, as real files: in the toolkit they may be links.
set(torch_files "")
if(TARGET gameforge_torch)
  foreach(name libtorch_cpu.so libc10.so libgomp.so.1 libcudart.so.13 libcupti.so.13)
    # A system's libtorch may have these elsewhere, or need no CUDA at all.
    if(EXISTS ${GAMEFORGE_TORCH_LIB_DIR}/${name})
      file(REAL_PATH ${GAMEFORGE_TORCH_LIB_DIR}/${name} path)
      list(APPEND torch_files ${name} ${path})
    endif()
  endforeach()
  # In a folder of their own: a prefix such as /usr/local is shared, and another libtorch may live there.
  install(TARGETS gameforge_torch LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set_property(TARGET gameforge_torch APPEND PROPERTY INSTALL_RPATH "$ORIGIN/gameforge")
endif()

# gf_install_files(<destination> <component options> <name> <file> ...): each file under that name.
function(gf_install_files destination options)
  while(ARGN)
    list(POP_FRONT ARGN name path)
    install(PROGRAMS ${path} DESTINATION ${destination} RENAME ${name} ${options})
  endwhile()
endfunction()
gf_install_files(${CMAKE_INSTALL_LIBDIR}/gameforge "" ${torch_files})
if(EXISTS ${GAMEFORGE_TORCH_LIB_DIR}/../licenses)
  install(DIRECTORY ${GAMEFORGE_TORCH_LIB_DIR}/../licenses/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses/libtorch)
endif()

# Builds with tests keep debug information of capi/ for abidiff (tests/checks); who installs wants none.
if(CMAKE_STRIP AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  install(CODE "execute_process(COMMAND ${CMAKE_STRIP} --strip-debug
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/$<TARGET_FILE_NAME:gameforge>\")")
endif()

# ---- The bundle -----------------------------------------------------------------------------------------------------
#
# cmake --install BUILD --component bundle --prefix DIR: everything in DIR itself, run paths $ORIGIN. From the system come
# only glibc, libstdc++ and libgcc, which every program of the machine shares and which must be the newest of all that are
# asked for. The rest is copied, libpng and zlib too, which a player's machine need not have.
set(bundle COMPONENT bundle EXCLUDE_FROM_ALL)

# gf_bundle_target(<target> <name>...): the target's file under the first name, with a run path of the folder itself and
# without debug information; further names are links to it.
function(gf_bundle_target target name)
  install(PROGRAMS $<TARGET_FILE:${target}> DESTINATION . RENAME ${name} ${bundle})
  install(CODE "
    set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${name}\")
    file(RPATH_SET FILE \"\${file}\" NEW_RPATH \"\\\$ORIGIN\")
    if(NOT \"${CMAKE_STRIP}\" STREQUAL \"\")
      execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-unneeded \"\${file}\")
    endif()
    foreach(link ${ARGN})
      file(CREATE_LINK ${name} \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/\${link}\" SYMBOLIC)
    endforeach()" ${bundle})
endfunction()

# Under the name that hosts are linked with; the plain one is for those who link, or look it up by name.
gf_bundle_target(gameforge $<TARGET_SONAME_FILE_NAME:gameforge> libgameforge.so)
if(TARGET gameforge_torch)
  gf_bundle_target(gameforge_torch libgameforge_torch.so)
endif()
if(TARGET gameforge_command)
  gf_bundle_target(gameforge_command gameforge)
endif()
gf_install_files(. "${bundle}" ${torch_files})

# What these need of the machine's libraries, with Debian's account of each one's licence.
install(CODE [[
  set(folder "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
  file(GLOB objects "${folder}/*.so" "${folder}/*.so.*")
  file(GET_RUNTIME_DEPENDENCIES
    LIBRARIES ${objects}
    RESOLVED_DEPENDENCIES_VAR resolved
    UNRESOLVED_DEPENDENCIES_VAR unresolved
    PRE_EXCLUDE_REGEXES "^(libc|libm|libdl|librt|libpthread|libutil|libstdc\\+\\+|libgcc_s|ld-linux.*)\\.so"
    POST_EXCLUDE_REGEXES "^${folder}/")
  if(unresolved)
    message(FATAL_ERROR "The bundle needs what was not found: ${unresolved}")
  endif()
  foreach(library IN LISTS resolved)
    get_filename_component(name "${library}" NAME)
    file(REAL_PATH "${library}" real)
    get_filename_component(real_name "${real}" NAME)
    message(STATUS "Installing: ${folder}/${name}")
    file(COPY_FILE "${real}" "${folder}/${name}")
    execute_process(COMMAND dpkg-query --search "*/${real_name}" OUTPUT_VARIABLE owner ERROR_QUIET RESULT_VARIABLE unknown)
    if(NOT unknown AND owner MATCHES "^([^:]+):")
      set(owner ${CMAKE_MATCH_1})
      if(EXISTS "/usr/share/doc/${owner}/copyright")
        file(MAKE_DIRECTORY "${folder}/licenses")
        file(COPY_FILE "/usr/share/doc/${owner}/copyright" "${folder}/licenses/${owner}.txt")
      endif()
    endif()
  endforeach()
]] ${bundle})

install(DIRECTORY include/gameforge DESTINATION include ${bundle} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(DIRECTORY models DESTINATION . ${bundle})
install(FILES LICENSE DESTINATION licenses RENAME gameforge.txt ${bundle})
# What is compiled in: headers alone, or Debian's static archives.
install(FILES docs/licenses/boost.txt DESTINATION licenses ${bundle})
foreach(package libfmt-dev nlohmann-json3-dev libtomlplusplus-dev libcli11-dev libutf8proc-dev libpg-query-dev libhiredis-dev)
  if(EXISTS /usr/share/doc/${package}/copyright)
    install(FILES /usr/share/doc/${package}/copyright DESTINATION licenses RENAME ${package}.txt ${bundle})
  endif()
endforeach()
if(TARGET gameforge_torch AND EXISTS ${GAMEFORGE_TORCH_LIB_DIR}/../licenses)
  install(DIRECTORY ${GAMEFORGE_TORCH_LIB_DIR}/../licenses/ DESTINATION licenses/libtorch ${bundle})
endif()
