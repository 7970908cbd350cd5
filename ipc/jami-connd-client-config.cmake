# SPDX-License-Identifier: GPL-3.0-or-later OR MIT
include(CMakeFindDependencyMacro)
find_dependency(nlohmann_json 3.11)
include(${CMAKE_CURRENT_LIST_DIR}/jami-connd-client-targets.cmake)
