from app.measure.programs import program

__all__ = ["program"]
