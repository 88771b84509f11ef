#include <Python.h>

#include "inner_pair.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace fitsnap_nn {
namespace {

// Python is never ended, because models may be alive until the process ends, so what it has printed is flushed here.
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
  throw std::runtime_error(std::string("Python does not start: ") +
                           (status.err_msg ? status.err_msg : "no reason given"));
}

}    // namespace
}    // namespace fitsnap_nn

void fitsnap_nn_start_python(const char *executable) {
  using fitsnap_nn::check;
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.parse_argv = 0;
  config.install_signal_handlers = 0;
  // From these Python finds the environment that the program belongs to, activated or not.
  check(&config, PyConfig_SetBytesString(&config, &config.program_name, executable));
  check(&config, PyConfig_SetBytesString(&config, &config.executable, executable));
  check(&config, Py_InitializeFromConfig(&config));
  PyConfig_Clear(&config);
  std::atexit(fitsnap_nn::flush_output);
  PyEval_SaveThread();
}
