// The Python object through which a model reaches the pair style that called it, for as long as the call lasts.

#ifndef FITSNAP_NN_MODEL_LINK_H
#define FITSNAP_NN_MODEL_LINK_H

#include "exchange.h"
#include "python_object.h"

namespace fitsnap_nn {

// What a model may ask of its pair style.
class ModelCalls {
 public:
  virtual Py_ssize_t atom_count() const = 0;
  virtual Py_ssize_t pair_count() const = 0;
  virtual double add_pair_energies(const double *energies) = 0;    // (pairs,); returns this rank's energy of them
  virtual void add_pair_forces(const double *forces) = 0;          // (pairs, 3)
  virtual void exchange(Turn turn, void *features, int width, bool single) = 0;    // (atoms, width)

 protected:
  ~ModelCalls() = default;
};

// Makes the object; once this is gone, calls of a model that kept it raise a Python exception.
class ModelLink {
 public:
  explicit ModelLink(ModelCalls *calls);
  ~ModelLink();
  ModelLink(const ModelLink &) = delete;
  ModelLink &operator=(const ModelLink &) = delete;

  PyObject *get() const { return object_.get(); }

 private:
  PyRef object_;
};

}    // namespace fitsnap_nn

#endif
