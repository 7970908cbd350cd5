// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/heap_trim.h"

#include <malloc.h>

namespace connd::daemon {

void HeapTrim::trim() {
  ::malloc_trim(0);
}

}  // namespace connd::daemon
