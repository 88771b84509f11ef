#include "model_link.h"

#include "numpy_array.h"

#include <climits>
#include <cstring>

namespace fitsnap_nn {
namespace {

struct LinkObject {
  PyObject_HEAD ModelCalls *calls;
};

// Runs the body of a method and converts C++ exceptions to Python exceptions: none may pass through the interpreter's C
// frames.
template <class Work> PyObject *with_calls(PyObject *self, Work work) {
  ModelCalls *calls = reinterpret_cast<LinkObject *>(self)->calls;
  if (!calls) {
    PyErr_SetString(PyExc_RuntimeError,
                    "this data object belongs to an earlier LAMMPS step. Use the one passed to the current call");
    return nullptr;
  }
  try {
    return work(*calls).release();
  } catch (const std::exception &error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
}

// A new reference to None, which PyRef will release.
PyRef none() {
  Py_INCREF(Py_None);
  return PyRef(Py_None);
}

Buffer float64_buffer(PyObject *array, Py_ssize_t count, const char *what) {
  Buffer buffer(array, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
  const Py_buffer &view = buffer.view();
  if (std::strcmp(view.format, "d") != 0 || view.len != count * view.itemsize)
    throw std::invalid_argument(std::string(what) + " must be a contiguous array of " + std::to_string(count) +
                                " float64 values");
  return buffer;
}

PyObject *add_pair_energies(PyObject *self, PyObject *energies) {
  return with_calls(self, [&](ModelCalls &calls) {
    const Buffer buffer = float64_buffer(energies, calls.pair_count(), "pair energies");
    return checked(PyFloat_FromDouble(calls.add_pair_energies(static_cast<double *>(buffer.view().buf))));
  });
}

PyObject *add_pair_forces(PyObject *self, PyObject *forces) {
  return with_calls(self, [&](ModelCalls &calls) {
    const Buffer buffer = float64_buffer(forces, 3 * calls.pair_count(), "pair forces");
    calls.add_pair_forces(static_cast<double *>(buffer.view().buf));
    return none();
  });
}

PyObject *add_virial(PyObject *self, PyObject *virial) {
  return with_calls(self, [&](ModelCalls &calls) {
    const Buffer buffer = float64_buffer(virial, 6, "the virial");
    calls.add_virial(static_cast<double *>(buffer.view().buf));
    return none();
  });
}

PyObject *add_atom_virials(PyObject *self, PyObject *virials) {
  return with_calls(self, [&](ModelCalls &calls) {
    const Buffer buffer = float64_buffer(virials, 6 * calls.local_count(), "virials of atoms");
    calls.add_atom_virials(static_cast<double *>(buffer.view().buf));
    return none();
  });
}

PyObject *exchange(PyObject *self, PyObject *features, ExchangeKind kind) {
  return with_calls(self, [&](ModelCalls &calls) {
    const Buffer buffer(features, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE);
    const Py_buffer &view = buffer.view();
    const bool is_float32 = std::strcmp(view.format, "f") == 0;
    if (!is_float32 && std::strcmp(view.format, "d") != 0)
      throw std::invalid_argument("features must be float32 or float64");
    const Py_ssize_t rows = kind == ExchangeKind::edges ? calls.pair_count() : calls.atom_count();
    if (view.ndim != 2 || view.shape[0] != rows || view.shape[1] > INT_MAX)
      throw std::invalid_argument("features must be a matrix with " + std::to_string(rows) + " rows");
    calls.exchange(kind, {view.buf, static_cast<int>(view.shape[1]), is_float32});
    return none();
  });
}

PyObject *forward_exchange(PyObject *self, PyObject *features) {
  return exchange(self, features, ExchangeKind::forward);
}

PyObject *reverse_exchange(PyObject *self, PyObject *features) {
  return exchange(self, features, ExchangeKind::reverse);
}

PyObject *edge_exchange(PyObject *self, PyObject *features) {
  return exchange(self, features, ExchangeKind::edges);
}

void deallocate(PyObject *self) {
  // An instance of a heap type owns a reference to its type (C API documentation of PyType_FromSpec).
  PyTypeObject *type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyRef link_type() {
  static PyMethodDef methods[] = {{"add_pair_energies", add_pair_energies, METH_O, nullptr},
                                  {"add_pair_forces", add_pair_forces, METH_O, nullptr},
                                  {"add_virial", add_virial, METH_O, nullptr},
                                  {"add_atom_virials", add_atom_virials, METH_O, nullptr},
                                  {"forward_exchange", forward_exchange, METH_O, nullptr},
                                  {"reverse_exchange", reverse_exchange, METH_O, nullptr},
                                  {"edge_exchange", edge_exchange, METH_O, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
  static PyType_Slot slots[] = {
      {Py_tp_methods, methods}, {Py_tp_dealloc, reinterpret_cast<void *>(deallocate)}, {0, nullptr}};
  static PyType_Spec spec = {"fitsnap_nn.plugin.Link", sizeof(LinkObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  return checked(PyType_FromSpec(&spec));
}

}    // namespace

ModelLink::ModelLink(ModelCalls *calls) {
  static PyObject *type = link_type().release();
  object_ = checked(reinterpret_cast<PyTypeObject *>(type)->tp_alloc(reinterpret_cast<PyTypeObject *>(type), 0));
  reinterpret_cast<LinkObject *>(object_.get())->calls = calls;
}

ModelLink::~ModelLink() {
  reinterpret_cast<LinkObject *>(object_.get())->calls = nullptr;
}

}    // namespace fitsnap_nn
