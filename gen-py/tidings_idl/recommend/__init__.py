__all__ = ['ttypes', 'constants', 'UserRecommend']
