#include <Python.h>

#include "inner_pair.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace fitsnap_nn {
namespace {

// Py_Finalize is never called: LAMMPS may delete styles, and with them models, after any point at which we could call
// it. Python's buffered output is therefore flushed at exit.
void flush_output() {
  PyGILState_STATE state = PyGILState_Ensure();
  for (const char *name : {"stdout", "stderr"}) {
    PyObject *stream = PySys_GetObject(name);
    Py_XDECREF(stream ? PyObject_CallMethod(stream, "flush", nullptr) : nullptr);
    PyErr_Clear();
  }
  PyGILState_Release(state);
}

void check(PyConfig *config, PyStatus status) {
  if (!PyStatus_Exception(status))
    return;
  PyConfig_Clear(config);
  throw std::runtime_error(std::string("Python cannot be started: ") +
                           (status.err_msg ? status.err_msg : "no reason given"));
}

}    // namespace
}    // namespace fitsnap_nn

void fitsnap_nn_start_python(const char *executable) {
  using fitsnap_nn::check;
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.parse_argv = 0;
  // Python's SIGINT handler only sets a flag that LAMMPS' main loop never checks: Ctrl-C would be ignored.
  config.install_signal_handlers = 0;
  // Python derives sys.prefix, and so the virtual environment, from the path of its executable. The environment need
  // not be activated.
  check(&config, PyConfig_SetBytesString(&config, &config.program_name, executable));
  check(&config, PyConfig_SetBytesString(&config, &config.executable, executable));
  check(&config, Py_InitializeFromConfig(&config));
  PyConfig_Clear(&config);
  std::atexit(fitsnap_nn::flush_output);
  // Release the GIL that initialisation left with this thread; GilGuard takes it for each call.
  PyEval_SaveThread();
}
