# SPDX-License-Identifier: GPL-3.0-or-later OR MIT
# The client library as apps install it: libjami-connd-client.a, headers, CMake package, pkg-config file. Static only,
# since nothing is promised yet about its ABI; alone: cmake --install BUILD --component client --prefix DIR
include(CMakePackageConfigHelpers)
set(out ${CMAKE_CURRENT_BINARY_DIR})
set(version_file ${out}/jami-connd-client-config-version.cmake)

# Apps say <jami-connd/ipc/client.h>, in this tree too. The copies say so among themselves, so that no directory of the
# name "ipc" or "proto" that an app may have gets in between.
set(client_headers)
foreach(header
    ipc/api.h
    ipc/api_admin.h
    ipc/api_trust.h
    ipc/api_events.h
    ipc/channel_socket.h
    ipc/client.h
    ipc/control_socket.h
    ipc/error.h
    ipc/fd.h
    ipc/incoming_request.h
    ipc/limits.h
    ipc/members.h
    ipc/message.h
    proto/reason.h)
  set(copy ${CMAKE_BINARY_DIR}/include/jami-connd/${header})
  get_filename_component(directory ${copy} DIRECTORY)
  file(MAKE_DIRECTORY ${directory})
  add_custom_command(OUTPUT ${copy}
    COMMAND sed -E [[s,^#include "((ipc|proto)/[^"]*)",#include <jami-connd/\1>,]] ${CMAKE_SOURCE_DIR}/${header} > ${copy}.new
    COMMAND ${CMAKE_COMMAND} -E rename ${copy}.new ${copy}
    DEPENDS ${CMAKE_SOURCE_DIR}/${header} VERBATIM)
  list(APPEND client_headers ${copy})
endforeach()
add_custom_target(connd_client_headers ALL DEPENDS ${client_headers})
add_dependencies(connd_ipc connd_client_headers)

set_target_properties(connd_ipc PROPERTIES OUTPUT_NAME jami-connd-client EXPORT_NAME client)
target_include_directories(connd_ipc INTERFACE
  $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(jami-connd::client ALIAS connd_ipc)

install(TARGETS connd_ipc EXPORT jami-connd-client ARCHIVE COMPONENT client)
install(DIRECTORY ${CMAKE_BINARY_DIR}/include/jami-connd TYPE INCLUDE COMPONENT client FILES_MATCHING PATTERN *.h)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/jami-connd-client)
install(EXPORT jami-connd-client NAMESPACE jami-connd:: FILE jami-connd-client-targets.cmake DESTINATION ${package_dir} COMPONENT client)
# Before 1.0 a minor version may change how apps compile.
write_basic_package_version_file(${version_file} COMPATIBILITY SameMinorVersion)
install(FILES jami-connd-client-config.cmake ${version_file} DESTINATION ${package_dir} COMPONENT client)
# The file names the prefix, which `cmake --install --prefix` may choose: so it is made when it is installed.
install(CODE "
  set(PROJECT_VERSION ${PROJECT_VERSION})
  set(CMAKE_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
  set(CMAKE_INSTALL_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
  configure_file(${CMAKE_CURRENT_SOURCE_DIR}/jami-connd-client.pc.in ${out}/jami-connd-client.pc @ONLY)
  file(INSTALL ${out}/jami-connd-client.pc DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig\")"
  COMPONENT client)
