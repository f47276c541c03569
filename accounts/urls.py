from django.urls import path

from accounts.own_tenant import OwnTenant

urlpatterns = [path("tenant", OwnTenant.as_view())]
